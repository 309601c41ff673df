#!/usr/bin/env python3
"""Drive the HTTP API of the chat from its own description, docs/openapi.json.

    run.py BINARY [--seconds N]

BINARY is the built `switchboard`. Schemathesis makes up requests, right ones and wrong ones, for each operation that is
described: no answer may be a 5xx, and each has to be as the description says.
Exit status: 0 all is well, 1 some answer was wrong, 2 the run itself went wrong.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEY = "key-of-the-tests-0123456789abcdef"


def setup():
    """The folder of a venv with the pinned requirements, made on first use and again when they change."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "switchboard-api"
    cache.mkdir(parents=True, exist_ok=True)
    requirements = HERE / "requirements.txt"
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
        venv = cache / f"venv-{key}"
        if not (venv / "ready").exists():
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps",
                            "--disable-pip-version-check", "-r", requirements], check=True)
            (venv / "ready").touch()
    return venv / "bin"


def start(binary, folder):
    """A server on a free port; returns the process and its URL."""
    keys = Path(folder) / "keys"
    keys.write_text(KEY + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    server = subprocess.Popen(
        [binary, "chat", "--listen", "127.0.0.1:0", "--api-key-file", keys, "--data-dir", Path(folder) / "data"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    line = server.stdout.readline().strip()
    if not line.startswith("listening on ws://"):
        raise SystemExit(f"run.py: the server said {line!r} instead of where it listens")
    return server, "http://" + line.removeprefix("listening on ws://")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path, help="the built switchboard")
    parser.add_argument("--seconds", type=int, default=60, help="how long to go on (default: 60)")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(f"{arguments.binary} isn't there: cargo build --all-features")
    tools = setup()
    with tempfile.TemporaryDirectory() as folder:
        server, url = start(arguments.binary.resolve(), folder)
        try:
            run = subprocess.run(
                [tools / "st", "run", url + "/api/openapi.json", "--header", f"Authorization: Bearer {KEY}",
                 # No schema can say what a name is, so some that fit it are refused, with the 422 that is described.
                 "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", "coverage,fuzzing,stateful",
                 "--max-time", str(arguments.seconds), "--continue-on-failure", "--warnings", "off",
                 "--generation-database", "none", "--no-color"],
                cwd=folder, timeout=arguments.seconds * 3 + 60)
            if server.poll() is not None:
                raise SystemExit("run.py: the server is gone")
        finally:
            server.terminate()
            server.wait(20)
    return run.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, subprocess.SubprocessError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        sys.exit(2)
