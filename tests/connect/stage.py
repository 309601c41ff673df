"""What the checks are played on: servers, a terminal that can be looked at, a line that can be cut."""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pyte
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

BINARY = os.environ["BINARY"]
HERE = Path(__file__).resolve().parent
# A bound on what has to happen, far above what it takes.
PATIENCE = 20


def until(happens, what):
    """Wait until something is true, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if result := happens():
            return result
        time.sleep(0.02)
    raise AssertionError(what() if callable(what) else what)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program of ours that ends with the test."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        self.first_line = self.process.stdout.readline().strip()

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.process.stdout.close()


class Chat(Process):
    """`switchboard chat`."""

    def __init__(self, *flags, port=0):
        command = [BINARY, "chat", "--listen", f"127.0.0.1:{port}", *flags]
        super().__init__(command, stderr=subprocess.DEVNULL)
        self.url = self.first_line.removeprefix("listening on ")
        self.port = int(self.url.rsplit(":", 1)[1])


def node_server():
    """A server of node's `ws`, as its URL."""
    server = Process(["node", HERE / "ws_server.js"])
    server.url = f"ws://127.0.0.1:{server.first_line}/"
    return server


class PythonServer:
    """A server of Python's `websockets`; `handle` serves each connection."""

    def __init__(self, handle, **options):
        def handle_quietly(socket):
            try:
                handle(socket)
            except ConnectionClosed:
                pass

        self.server = serve(handle_quietly, "127.0.0.1", 0, **options)
        self.url = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()


class Peer:
    """Somebody else in the chat, in plain text, by Python's `websockets`."""

    def __init__(self, url, name):
        self.connection = connect(url, compression=None)
        self.socket = self.connection.__enter__()
        assert self.ask(name) == f"Welcome, {name}!"

    def ask(self, text):
        self.say(text)
        return self.hear()

    def say(self, text):
        self.socket.send(text)

    def hear(self):
        return self.socket.recv(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.connection.__exit__(*reason)


class Line:
    """A line to a port, which can be cut under everybody who talks by it."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ends = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):
            pass

    def cut(self):
        """Both sides see a reset."""
        ends, self.ends = self.ends, []
        self.reset(ends)

    def cut_here(self):
        """The server sees nothing of it."""
        near, self.ends = self.ends[::2], self.ends[1::2]
        self.reset(near)

    @staticmethod
    def reset(ends):
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                end.shutdown(socket.SHUT_RD)
            except OSError:
                pass
            end.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()


class Terminal:
    """`switchboard connect` in a pseudo-terminal with somebody in front of it."""

    def __init__(self, *arguments, columns=80, rows=24, environment=None):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.bytes = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            variables = os.environ | {"TERM": "xterm-256color"} | (environment or {})
            # The shell's part: the size is known before the program starts.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(BINARY, [BINARY, "connect", *arguments], variables)
        self.code = None

    def pump(self, wait=0.0):
        """Take what the program has written; `False` once it has ended."""
        ready, _, _ = select.select([self.master], [], [], wait)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.bytes += data
        self.stream.feed(data)
        return bool(data)

    def rows(self):
        """What is on the screen, without empty rows at the end."""
        while select.select([self.master], [], [], 0)[0] and self.pump():
            pass
        rows = [row.rstrip() for row in self.screen.display]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def text(self):
        return "\n".join(self.rows())

    def see(self, what):
        """Wait until a text is on the screen."""
        until(lambda: what in self.text(), lambda: f"{what!r} isn't on the screen:\n{self.text()}")

    def see_prompt(self, row):
        """Wait until the last row reads so, with the cursor at its end."""
        until(
            lambda: self.rows()[-1:] == [row.rstrip()] and self.screen.cursor.x == len(row),
            lambda: f"{row!r} isn't the last row:\n{self.text()}\ncursor at {self.screen.cursor.x}",
        )

    def type(self, text):
        os.write(self.master, text.encode())

    def enter(self, text):
        self.type(text + "\r")

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def modes(self):
        """Whether the terminal echoes and collects lines."""
        flags = termios.tcgetattr(self.master)[3]
        return bool(flags & termios.ECHO), bool(flags & termios.ICANON)

    def end(self):
        """Wait for the program to end, and return its exit code."""
        def ended():
            self.rows()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.rows()
            return pid

        if self.code is None:
            until(ended, lambda: f"it doesn't end:\n{self.text()}")
        return self.code

    def without_styles(self):
        """What was written, less what moves the cursor, erases, colours or switches pasting."""
        text = self.bytes.decode()
        return re.sub(r"\x1b\[(\d*(;\d+)*[ABCDHJKm]|\?2004[hl])", "", text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


def pipe(*arguments, input=""):
    """`switchboard connect` on pipes, to its end: exit code, lines, what it said on standard error."""
    command = [BINARY, "connect", *arguments]
    ended = subprocess.run(command, input=input, capture_output=True, text=True, timeout=PATIENCE)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr
