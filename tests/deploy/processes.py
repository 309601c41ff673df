"""What is started for a test: chat servers and proxies, on free ports, each with its log; and stopped after it."""

import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs" / "deploy"

HOST = "chat.example.org"
API_KEY = "a-key-for-the-tests"
# The proxies' timeout in place of the documented minute, and the heartbeats that have to beat it.
IDLE_SECONDS = 3
PING_INTERVAL = "1s"
DRAIN_DELAY_SECONDS = 4
DRAIN_TIMEOUT_SECONDS = 4
MAX_MESSAGE = "2MiB"


class Failure(Exception):
    """A test failed; the text says how, for people."""


def expect(is_so, what):
    if not is_so:
        raise Failure(what)


_ports_lock = threading.Lock()
_ports_taken = set()


def free_port(hosts=("127.0.0.1",)):
    """A port free on all these addresses, outside the range from which the kernel takes clients' ports."""
    with _ports_lock:
        for port in random.sample(range(20000, 32000), 500):
            if port in _ports_taken:
                continue
            try:
                for host in hosts:
                    with socket.socket() as probe:
                        probe.bind((host, port))
            except OSError:
                continue
            _ports_taken.add(port)
            return port
    raise Failure("no port is free")


def substitute(name, changes):
    """The text of docs/deploy/NAME with each of the texts in `changes` replaced, all of which have to be there."""
    text = (DOCS / name).read_text()
    for old, new in changes.items():
        expect(old in text, f"docs/deploy/{name} doesn't say {old!r} any more: change the test with it")
        text = text.replace(old, new)
    return text


class Process:
    """A program whose output goes to a file."""

    def __init__(self, name, command, folder):
        self.name, self.log = name, folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=folder, start_new_session=True)

    def check(self):
        code = self.process.poll()
        expect(code is None, f"{self.name} ended with status {code}; its last words: {self.last_words()}")

    def last_words(self):
        return self.log.read_text(errors="replace")[-800:].strip() or "none"

    def wait_until(self, is_ready, what, seconds=15):
        deadline = time.monotonic() + seconds
        try:
            while not is_ready():
                self.check()
                expect(time.monotonic() < deadline, f"{self.name} {what} after {seconds} s: {self.last_words()}")
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Ends it with the processes that it started, such as nginx's workers: they are in a group of their own."""
        # Once it has been waited for, its number may be somebody else's.
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Server(Process):
    """A chat server with an address for administration."""

    def __init__(self, binary, name, folder, *flags, host="127.0.0.1", ports=(None, None),
                 drain_delay_seconds=DRAIN_DELAY_SECONDS):
        self.host, self.drain_delay_seconds = host, drain_delay_seconds
        self.port, self.admin_port = [port or free_port() for port in ports]
        keys = folder / "api-keys"
        keys.write_text(API_KEY + "\n")
        super().__init__(name, [
            binary, "chat", "--listen", f"{host}:{self.port}", "--admin-listen", f"{host}:{self.admin_port}",
            "--api-key-file", keys, "--trusted-proxy", "127.0.0.1", "--max-message-bytes", MAX_MESSAGE,
            "--queue-bytes", "8MiB", "--rate-bytes", "0", "--rate-messages", "0",
            "--drain-delay", f"{drain_delay_seconds}s", "--drain-timeout", f"{DRAIN_TIMEOUT_SECONDS}s", *flags,
        ], folder)
        self.wait_until(self.is_ready, "isn't ready")

    def get(self, path, key=None):
        """Status and body of a request to the administrators' address."""
        request = urllib.request.Request(f"http://{self.host}:{self.admin_port}{path}")
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def connections(self):
        """The connections by their users' names."""
        status, body = self.get("/api/connections", API_KEY)
        expect(status == 200, f"GET /api/connections of {self.name} is answered with {status}: {body}")
        return {connection.get("name"): connection for connection in json.loads(body)["connections"]}


def answers(port):
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def make_certificate(folder):
    """A certificate of its own for HOST: the files of chain, key, and both in one."""
    chain, key, both = folder / "fullchain.pem", folder / "privkey.pem", folder / "both.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", chain, "-days", "2", "-subj", f"/CN={HOST}",
                    "-addext", f"subjectAltName=DNS:{HOST}"], check=True, capture_output=True)
    both.write_text(chain.read_text() + key.read_text())
    return chain, key, both


class Nginx(Process):
    def __init__(self, folder, port, servers, files):
        one, two = servers
        site = substitute("nginx.conf", {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/chat.example.org/fullchain.pem": str(files[0]),
            "/etc/ssl/chat.example.org/privkey.pem": str(files[1]),
            "127.0.0.1:9001 max": f"127.0.0.1:{one.port} max",
            "127.0.0.1:9002 max": f"127.0.0.1:{two.port} max",
            "proxy_read_timeout 60s": f"proxy_read_timeout {IDLE_SECONDS}s",
            "proxy_send_timeout 60s": f"proxy_send_timeout {IDLE_SECONDS}s",
        })
        (folder / "site.conf").write_text(site)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n"
                            for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        main = folder / "nginx.conf"
        main.write_text(f"""daemon off; pid {folder}/nginx.pid; error_log stderr info; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
access_log off;
{temporary}include {folder}/site.conf;
}}
""")
        super().__init__("nginx", ["nginx", "-e", "stderr", "-p", folder, "-c", main], folder)
        self.wait_until(lambda: answers(port), "doesn't listen")


class HAProxy(Process):
    """With docs/deploy/NAME; `changes` are further ones to it."""

    def __init__(self, folder, port, servers, files, name="haproxy.cfg", changes=None):
        one, two = servers
        config = folder / "haproxy.cfg"
        config.write_text(substitute(name, {
            "bind :443": f"bind 127.0.0.1:{port}",
            "/etc/haproxy/chat.example.org.pem": str(files[2]),
            "127.0.0.1:9001 port 9101": f"127.0.0.1:{one.port} port {one.admin_port}",
            "127.0.0.1:9002 port 9102": f"127.0.0.1:{two.port} port {two.admin_port}",
            "log /dev/log local0": "log stdout format raw local0",
            "maxconn 20000": "maxconn 500",
            "timeout client 30s": f"timeout client {IDLE_SECONDS}s",
            "timeout server 30s": f"timeout server {IDLE_SECONDS}s",
            "timeout tunnel 60s": f"timeout tunnel {IDLE_SECONDS}s",
            **(changes or {}),
        }))
        super().__init__("haproxy", ["haproxy", "-db", "-f", config], folder)
        self.wait_until(lambda: answers(port), "doesn't listen")


class Caddy(Process):
    def __init__(self, folder, port, servers, files):
        one, two = servers
        config = folder / "Caddyfile"
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n"
        site = f"https://{HOST}:{port} {{\n\ttls {files[0]} {files[1]}"
        config.write_text(options + substitute("Caddyfile", {
            "chat.example.org {": site,
            "10.0.0.11:9001": f"{one.host}:{one.port}",
            "10.0.0.12:9001": f"{two.host}:{two.port}",
            "health_port 9101": f"health_port {one.admin_port}",
        }))
        data = f"XDG_DATA_HOME={folder}/data"
        command = ["env", data, f"XDG_CONFIG_HOME={folder}/config", f"HOME={folder}", "caddy", "run",
                   "--config", config, "--adapter", "caddyfile"]
        super().__init__("caddy", command, folder)
        self.wait_until(lambda: answers(port), "doesn't listen")
