"""What has to be true of the chat behind a proxy, whichever it is."""

import http.client
import random
import re
import socket
import ssl
import threading
import time

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from processes import DRAIN_DELAY_SECONDS, DRAIN_TIMEOUT_SECONDS, HOST, IDLE_SECONDS, Failure, expect

# Clients come from there, so that the proxy's address isn't theirs.
CLIENT = "127.0.0.2"
# What a client might claim to be.
SPOOFED = "203.0.113.9"
PATIENCE = 15


class Site:
    """A proxy as clients see it, and the servers behind it as their administrator does."""

    def __init__(self, port, servers, certificate, checks_readiness, has_timeout):
        self.port, (self.one, self.two) = port, servers
        self.checks_readiness, self.has_timeout = checks_readiness, has_timeout
        self.tls = ssl.create_default_context(cafile=certificate[0])
        self.origin = f"https://{HOST}:{port}"

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE, source_address=(CLIENT, 0))

    def connect(self, room="lobby", **options):
        """A WebSocket that sends no heartbeats of its own."""
        options = {"origin": self.origin, "compression": None, "max_size": None, "ping_interval": None, **options}
        return connect(f"wss://{HOST}:{self.port}/rooms/{room}", sock=self.socket(), ssl=self.tls,
                       server_hostname=HOST, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE, **options)

    def join(self, name, room="lobby", **options):
        client = self.connect(room, **options)
        client.send(name)
        expect_line(client, f"Welcome, {name}!")
        return client

    def get(self, path):
        """Status and body of a request through the proxy, on a connection of its own."""
        stream = self.tls.wrap_socket(self.socket(), server_hostname=HOST)
        connection = http.client.HTTPConnection(HOST, self.port)
        connection.sock = stream
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def expect_line(client, expected):
    """Reads up to this message, past what the server says about others."""
    while True:
        try:
            line = client.recv(timeout=PATIENCE)
        except TimeoutError:
            expect(False, f"{shorten(expected)!r} didn't arrive within {PATIENCE} s")
        except ConnectionClosed as closed:
            expect(False, f"the connection ended ({closed}) before {shorten(expected)!r} arrived")
        if line == expected:
            return
        expect(line.startswith("[system]"), f"{shorten(line)!r} arrived in place of {shorten(expected)!r}")


def shorten(text):
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def page(site):
    """The page comes, and administration doesn't."""
    site_page = site.get("/")
    expect(site_page[0] == 200 and b"<html" in site_page[1], f"the page is answered with {site_page[0]}")
    for path in ["/metrics", "/readyz", "/api/connections"]:
        status = site.get(path)[0]
        expect(status == 404, f"{path} is answered with {status} to everybody, though it belongs to --admin-listen")


def address(site):
    """The server sees the client's address, and no other that the client claims."""
    claims = {"X-Forwarded-For": SPOOFED, "Forwarded": f"for={SPOOFED}"}
    with site.join("Alan", "address", additional_headers=claims):
        seen = site.one.connections().get("Alan")
        expect(seen, "the first server's GET /api/connections doesn't show the client")
        expect(seen["address"] == CLIENT, f"the server takes {seen['address']} for the client's address, which is {CLIENT}")


def origin(site):
    """The site's own page may connect, another's may not."""
    try:
        site.connect("origin", origin="https://evil.example").close()
    except InvalidStatus as refused:
        status = refused.response.status_code
        expect(status == 403, f"a page of another site is refused with {status}, not with 403")
    else:
        expect(False, "a page of another site may connect")


def large_message(site):
    """A message of 1 MiB goes through, from one client and to another."""
    with site.join("Ada", "large") as ada, site.join("Grace", "large") as grace:
        for sender, name, receiver in [(ada, "Ada", grace), (grace, "Grace", ada)]:
            # Nothing that could be compressed on the way.
            text = random.randbytes(1 << 19).hex()
            sender.send(text)
            expect_line(receiver, f"[{name}] {text}")


def idle(site):
    """A connection on which nothing is said outlives the proxy's timeout, by the server's heartbeats."""
    with site.join("Ida", "idle") as ida, site.join("Ivo", "idle") as ivo:
        time.sleep(2 * IDLE_SECONDS + 1)
        ida.send("still here")
        expect_line(ivo, "[Ida] still here")


class Watch(threading.Thread):
    """Does something again and again, and keeps what went wrong."""

    def __init__(self, what, once, pause):
        super().__init__(daemon=True)
        self.what, self.once, self.pause = what, once, pause
        self.is_over, self.times, self.problems = threading.Event(), 0, []
        self.start()

    def run(self):
        while not self.is_over.wait(self.pause):
            self.times += 1
            try:
                problem = self.once()
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                self.problems.append(problem)

    def end(self):
        self.is_over.set()
        self.join()
        expect(self.times, f"there was no {self.what}")
        expect(not self.problems, f"{len(self.problems)} of {self.times} {self.what}s failed: {self.problems[:3]}")


def farewell(client):
    """Reads until the connection ends; what was wrong with how it did."""
    try:
        while True:
            client.recv(timeout=PATIENCE)
    except TimeoutError:
        return "a client wasn't told that the server stops"
    except ConnectionClosed as closed:
        frame = closed.rcvd
        if frame is None:
            return f"a client was cut off without a Close: {closed}"
        if frame.code != 1001 or not re.fullmatch(r"retry-after=\d+", frame.reason):
            return f"a client was told {frame.code} {frame.reason!r}, not 1001 with retry-after=S"


def drain(site):
    """The first server stops: its clients are told so, and nobody else notices."""
    clients = [site.join(f"Client{number}", "drain") for number in range(8)]
    there = site.one.connections()
    expect(all(f"Client{number}" in there for number in range(8)), "the clients aren't on the first server")

    def request():
        status = site.get("/healthz")[0]
        return None if status == 200 else f"GET /healthz is answered with {status}"

    def newcomer():
        with site.connect("drain") as client:
            try:
                client.send(f"Guest{random.getrandbits(40)}")
                client.recv(timeout=PATIENCE)
            except ConnectionClosed:
                # Let in just before the end.
                return farewell(client)

    watches = [Watch("request", request, 0.05), Watch("new connection", newcomer, 0.1)]
    time.sleep(0.5)
    asked = time.monotonic()
    site.one.terminate()
    if site.checks_readiness:
        moves_in_time(site, clients)
    problems = [problem for problem in map(farewell, clients) if problem]
    expect(not problems, f"{len(problems)} of {len(clients)} clients: {problems[:1]}")
    lasted = time.monotonic() - asked
    expect(lasted >= DRAIN_DELAY_SECONDS, f"the clients were told {lasted:.1f} s after SIGTERM, before --drain-delay")
    code = site.one.process.wait(DRAIN_DELAY_SECONDS + DRAIN_TIMEOUT_SECONDS + PATIENCE)
    expect(code == 0, f"the server ended its drain with status {code}: {site.one.last_words()}")
    # And some time with the second one alone.
    time.sleep(1)
    for watch in watches:
        watch.end()
    with site.join("Moved", "drain"):
        expect("Moved" in site.two.connections(), "a new client isn't on the second server after the first one's end")


def moves_in_time(site, clients):
    """A proxy that asks /readyz sends new clients elsewhere while the first server still serves."""
    while True:
        with site.connect("drain") as client:
            client.send("Early")
            client.recv(timeout=PATIENCE)
            if "Early" in site.two.connections():
                break
        expect(site.one.process.poll() is None, "the proxy sent nobody to the second server before the first one's end")
        time.sleep(0.2)
    for client in clients:
        expect(client.state.name == "OPEN", "clients were sent away before new ones went to the second server")


def no_heartbeat(site):
    """The counter-test of `idle`: without heartbeats, as on the second server, the proxy's timeout is there."""
    if not site.has_timeout:
        return
    with site.join("Iris", "idle") as iris:
        expect("Iris" in site.two.connections(), "the client isn't on the second server")
        try:
            iris.recv(timeout=2 * IDLE_SECONDS + 1)
        except TimeoutError:
            expect(False, f"a connection without heartbeats outlived the proxy's timeout of {IDLE_SECONDS} s: "
                          "then the test of idle connections shows nothing")
        except ConnectionClosed:
            pass


# In this order: the first server is gone after `drain`.
TESTS = (page, address, origin, large_message, idle, drain, no_heartbeat)


def run(site, processes, tests):
    for test in tests:
        try:
            test(site)
        except Exception as error:
            logs = "".join(f"\n--- the log of {process.name} ends so:\n{process.last_words()}" for process in processes)
            why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            raise Failure(f"{test.__doc__} It failed: {why}{logs}") from error
