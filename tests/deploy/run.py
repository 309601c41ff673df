#!/usr/bin/env python3
"""Test the chat behind proxies, with the configurations of docs/deploy.

    run.py BINARY [--only NAME] [--keep DIR]

BINARY is the built `switchboard`. nginx and HAProxy are Debian's; missing ones are installed by apt-get, as root or by
sudo. Caddy is tested if it is there. Everything listens on free ports of 127.0.0.0/8, and only what was started here is
stopped. Exit status: 0 all is well, 1 some test failed, 2 the run itself went wrong.
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

# Where Debian puts them, which isn't on every user's PATH.
os.environ["PATH"] += ":/usr/sbin:/sbin"


def setup():
    """The Python of a venv with the pinned requirements, made on first use and again when they change."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "switchboard-deploy"
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


def install():
    """What is missing of the proxies, and of what makes their certificates."""
    missing = [name for name in ["nginx", "haproxy", "openssl"] if not shutil.which(name)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise SystemExit(f"run.py: install these by hand: {' '.join(missing)}")
    print("installing", *missing, flush=True)
    sudo = [] if os.getuid() == 0 else ["sudo"]
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120", "-qq"]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "install", "-y", "--no-install-recommends", *missing], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path, help="the built switchboard")
    parser.add_argument("--only", metavar="NAME", default="", help="run what has this in its name")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="work in this directory, and leave the logs there")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(f"{arguments.binary} isn't there: cargo build --all-features")
    install()
    command = [setup(), HERE / "suite.py", arguments.binary.resolve(), "--only", arguments.only]
    if arguments.keep:
        command += ["--keep", arguments.keep.resolve()]
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
