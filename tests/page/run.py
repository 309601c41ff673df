#!/usr/bin/env python3
"""Test the chat's page in a headless Chromium.

    run.py BINARY [--screenshots DIR] [--only PART] [--keep-going]
    run.py --stand-in …

BINARY is the built `switchboard`. With --stand-in nothing needs to be built: a small server in Python takes its place.
Chromium is the system's: `chromium` of Debian, or whatever CHROMIUM names. See README.md.
Exit status: 0 all is well, 1 some test failed, 2 the run itself went wrong.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def setup():
    """The Python of a venv with the pinned requirements, made on first use and again when they change."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "switchboard-page"
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
    return venv / "bin" / "python"


def chromium():
    given = os.environ.get("CHROMIUM")
    for name in [given] if given else ["chromium", "chromium-browser", "google-chrome"]:
        if path := shutil.which(name):
            return path
    raise SystemExit("run.py: there is no Chromium: apt-get install chromium, or name one in CHROMIUM")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", type=Path, help="the built switchboard")
    parser.add_argument("--stand-in", action="store_true", help="test against the server in Python")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="save pictures of the page there")
    parser.add_argument("--only", metavar="PART", default="", help="run the tests whose name has this in it")
    arguments = parser.parse_args()
    if bool(arguments.binary) == arguments.stand_in:
        parser.error("give the binary, or --stand-in")
    if arguments.binary and not arguments.binary.is_file():
        parser.error(f"{arguments.binary} isn't there: cargo build --all-features")
    command = [setup(), HERE / "suite.py", "--chromium", chromium(), "--only", arguments.only]
    if arguments.binary:
        command += ["--binary", arguments.binary.resolve()]
    if arguments.screenshots:
        command += ["--screenshots", arguments.screenshots.resolve()]
    try:
        return subprocess.run(command).returncode
    except KeyboardInterrupt:
        return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        print(f"run.py: {error}", file=sys.stderr)
        sys.exit(2)
