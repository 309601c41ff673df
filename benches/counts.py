#!/usr/bin/env python3
"""Counts what an echoed message costs the server: system calls by strace, instructions in user space by callgrind.

    cargo build --release --features cli
    benches/counts.py target/release/switchboard

Both are exact, whatever else the machine does, but for how many messages one wake-up serves. Each figure is the
difference of two runs of different length, so that the start and the handshakes drop out. It needs strace and valgrind
(Debian's packages of these names) and uses loopback only.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

CONNECTIONS = 32
BYTES = 125
READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")


def run(binary, wrapper, depth, seconds):
    """Runs an echo server under `wrapper`, loads it, and returns how many messages came back."""
    command = [*wrapper, binary, "echo", "--threads", "1", "--no-deflate", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            url = server.stdout.readline().split()[-1]
            load = [binary, "bench", "echo", url, "--threads", "1", "--json", "--warmup", "0s", "--wait", "20s"]
            load += ["--connections", str(CONNECTIONS), "--size", str(BYTES), "--depth", str(depth)]
            done = subprocess.run([*load, "--duration", f"{seconds}s"], capture_output=True, text=True, check=True)
        finally:
            # strace's child is the server; callgrind is the server itself.
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            for process in map(int, children or [server.pid]):
                os.kill(process, signal.SIGTERM)
    return json.loads(done.stdout)["received"]


def system_calls(binary, depth):
    counts = []
    for seconds in (1, 4):
        with tempfile.NamedTemporaryFile("r") as table:
            calls = ",".join(READS + WRITES)
            messages = run(binary, ["strace", "-f", "-c", "-e", f"trace={calls}", "-o", table.name], depth, seconds)
            rows = [line.split() for line in table.read().splitlines()]
        found = {row[-1]: int(row[3]) for row in rows if row and row[-1] in READS + WRITES}
        counts.append((messages, sum(found.get(c, 0) for c in READS), sum(found.get(c, 0) for c in WRITES)))
    (m1, r1, w1), (m2, r2, w2) = counts
    return (r2 - r1) / (m2 - m1), (w2 - w1) / (m2 - m1)


def instructions(binary, depth):
    counts = []
    for seconds in (2, 8):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            messages = run(binary, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"], depth, seconds)
            counts.append((messages, int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])))
    (m1, i1), (m2, i2) = counts
    return (i2 - i1) / (m2 - m1)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    binary = sys.argv[1]
    print(f"{CONNECTIONS} connections, {BYTES} bytes; for each message:")
    for depth in (1, 16):
        reads, writes = system_calls(binary, depth)
        print(f"depth {depth:2}: {reads:.3f} reads, {writes:.3f} writes, {instructions(binary, depth):,.0f} instructions")


if __name__ == "__main__":
    main()
