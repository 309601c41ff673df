#!/usr/bin/env python3
"""Test `switchboard connect` in a pseudo-terminal, and against other people's WebSocket servers.

    run.py BINARY [TEST...]

Sets up what it needs on first use, in a folder of its own in the user's cache: a venv (requirements.txt) and node's
`ws` (package.json). It needs Python 3.11 with venv, node and npm. Exit status: 0 everything passed, 1 something did
not, 2 the run itself went wrong.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ["requirements.txt", "package.json"]


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "switchboard-connect"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def set_up():
    """The folder with everything in it, made on first use and again when a part changes."""
    for tool, package in (("node", "nodejs"), ("npm", "npm")):
        if not shutil.which(tool):
            print(f"there is no {tool} here: install the package {package}", file=sys.stderr)
            raise SystemExit(2)
    folder = cache()
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parts = b"".join((HERE / part).read_bytes() for part in PARTS) + sys.version.encode()
        place = folder / hashlib.sha256(parts).hexdigest()[:12]
        if (place / "ready").exists():
            return place
        print(f"setting up {place}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        shutil.copy(HERE / "package.json", place)
        python = place / "venv" / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", place]
        for command in (
            [sys.executable, "-m", "venv", place / "venv"],
            [*pip, "-r", HERE / "requirements.txt"],
            npm,
        ):
            if subprocess.run(command).returncode:
                print(f"setting up failed at: {shlex.join(map(str, command))}", file=sys.stderr)
                raise SystemExit(2)
        (place / "ready").touch()
        return place


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    binary = Path(sys.argv[1]).resolve()
    if not os.access(binary, os.X_OK):
        print(f"{binary} is no program: build it first", file=sys.stderr)
        return 2
    place = set_up()
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SWITCHBOARD_") and name not in ("NO_COLOR", "RUST_LOG")
    }
    environment |= {"BINARY": str(binary), "NODE_PATH": str(place / "node_modules"), "PYTHONPATH": str(HERE)}
    python = place / "venv" / "bin" / "python"
    command = [python, "-m", "unittest", *(sys.argv[2:] or ["checks"])]
    return subprocess.run(command, cwd=HERE, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
