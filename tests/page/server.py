"""The server under test, as a process that can be killed and started again on the same port and data."""

import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Server:
    """`switchboard chat`, or the stand-in if there is no binary."""

    def __init__(self, binary, *flags):
        self.binary, self.flags, self.process = binary, flags, None
        self.data = tempfile.TemporaryDirectory(prefix="switchboard-page-")
        self.port = free_port()
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        if self.binary:
            command = [self.binary, "chat", "--listen", f"127.0.0.1:{self.port}", "--data-dir", f"{self.data.name}/data", *self.flags]
        else:
            command = [sys.executable, HERE / "stand_in.py", str(self.port), f"{self.data.name}/history"]
        self.log = open(f"{self.data.name}/log", "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server says {line!r}\n{Path(self.log.name).read_text()}")

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def terminate(self):
        """SIGTERM, and the end of it."""
        self.process.terminate()
        status = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.log.close()
        return status

    def stop(self):
        if self.process.poll() is None:
            self.kill()
        self.data.cleanup()

    def get(self, path, **headers):
        """An answer's status, header fields and body."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
