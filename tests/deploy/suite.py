"""The tests themselves; run.py starts them. Each proxy is tested in a thread of its own, with two servers behind it."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import behind
import direct
import files
from processes import (DRAIN_DELAY_SECONDS, PING_INTERVAL, Caddy, Failure, HAProxy, Nginx, Server, free_port,
                       make_certificate)


@dataclass
class Scenario:
    """A proxy, what its servers need for it, and what there is to see."""

    proxy: Callable
    flags: tuple = ()
    hosts: tuple = ("127.0.0.1", "127.0.0.1")
    # Whether it asks /readyz, so that it sends nobody to a server that is going to stop.
    checks_readiness: bool = True
    # Whether it cuts off connections on which nothing happens.
    has_timeout: bool = True
    drain_delay_seconds: int = DRAIN_DELAY_SECONDS
    tests: tuple = behind.TESTS

    def run(self, binary, folder):
        # One health check port for all servers, where they have addresses of their own.
        ports = [free_port(self.hosts), free_port(self.hosts)] if self.hosts[0] != self.hosts[1] else [None, None]
        with ExitStack() as stack:
            def started(process):
                stack.callback(process.stop)
                return process

            # Only the first one sends heartbeats: what a proxy does without them shows on the other.
            servers = [
                started(Server(binary, name, folder, "--ping-interval", interval, *self.flags, host=host, ports=ports,
                               drain_delay_seconds=self.drain_delay_seconds))
                for name, interval, host in zip(["one", "two"], [PING_INTERVAL, "0s"], self.hosts)
            ]
            port, certificate = free_port(), make_certificate(folder)
            proxy = started(self.proxy(folder, port, servers, certificate))
            site = behind.Site(port, servers, certificate, self.checks_readiness, self.has_timeout)
            asyncio.run(behind.run(site, [*servers, proxy], self.tests))


def haproxy_v2(folder, port, servers, certificate):
    return HAProxy(folder, port, servers, certificate, "haproxy-tcp.cfg")


def haproxy_v1(folder, port, servers, certificate):
    return HAProxy(folder, port, servers, certificate, "haproxy-tcp.cfg", {"send-proxy-v2": "send-proxy"})


SCENARIOS = {
    "documented files": files,
    "no proxy": direct,
    "nginx": Scenario(Nginx, checks_readiness=False),
    "nginx, no delay": Scenario(Nginx, checks_readiness=False, drain_delay_seconds=0, tests=(behind.drain,)),
    "HAProxy": Scenario(HAProxy),
    "HAProxy, no delay": Scenario(HAProxy, checks_readiness=False, drain_delay_seconds=0, tests=(behind.drain,)),
    "HAProxy, PROXY v2": Scenario(haproxy_v2, flags=("--proxy-protocol",)),
    "HAProxy, PROXY v1": Scenario(haproxy_v1, flags=("--proxy-protocol",), tests=(behind.address,)),
    "Caddy": Scenario(Caddy, hosts=("127.0.0.11", "127.0.0.12"), has_timeout=False),
}


class Run(threading.Thread):
    """One scenario, in a thread."""

    def __init__(self, name, binary, folder):
        super().__init__(name=name)
        self.binary, self.folder, self.problem, self.seconds = binary, folder, None, 0.0
        folder.mkdir(parents=True)

    def run(self):
        started = time.monotonic()
        try:
            SCENARIOS[self.name].run(self.binary, self.folder)
        except Failure as failure:
            self.problem = str(failure)
        except Exception:
            self.problem = traceback.format_exc()
        self.seconds = time.monotonic() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    names = [name for name in SCENARIOS if arguments.only.lower() in name.lower()]
    if not shutil.which("caddy") and "Caddy" in names:
        print("not run: Caddy, which isn't installed")
        names.remove("Caddy")
    if not names:
        parser.error(f"nothing has {arguments.only!r} in its name: there are {', '.join(SCENARIOS)}")
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="switchboard-deploy-"))
    try:
        runs = [Run(name, arguments.binary, folder / name.lower().replace(", ", "-").replace(" ", "-"))
                for name in names]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
            print(f"{run.seconds:6.1f} s  {'FAILED' if run.problem else 'ok    '}  {run.name}")
            if run.problem:
                print("          " + run.problem.replace("\n", "\n          "))
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(run.problem for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
