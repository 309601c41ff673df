"""What has to be true of the chat behind a proxy, whichever it is.

The clients are asyncio ones: over TLS 1.3 a request of the threaded ones got lost now and then.
"""

import asyncio
import http.client
import random
import re
import socket
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from processes import DRAIN_TIMEOUT_SECONDS, HOST, IDLE_SECONDS, Failure, expect

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
        """A WebSocket that sends no heartbeats of its own, and reads all that comes whether a test looks at it or not."""
        options = {"origin": self.origin, "compression": None, "max_size": None, "max_queue": None,
                   "ping_interval": None, **options}
        stream = self.socket()
        stream.setblocking(False)
        return connect(f"wss://{HOST}:{self.port}/rooms/{room}", sock=stream, ssl=self.tls, server_hostname=HOST,
                       proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE, **options)

    @asynccontextmanager
    async def join(self, name, room="lobby", **options):
        async with self.connect(room, **options) as client:
            await client.send(name)
            await expect_line(client, f"Welcome, {name}!")
            yield client

    async def get(self, path):
        return await asyncio.to_thread(self.get_blocking, path)

    def get_blocking(self, path):
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


async def receive(client):
    return await asyncio.wait_for(client.recv(), PATIENCE)


async def expect_line(client, expected):
    """Reads up to this message, past what the server says about others."""
    while True:
        try:
            line = await receive(client)
        except TimeoutError:
            raise Failure(f"{shorten(expected)!r} didn't arrive within {PATIENCE} s") from None
        except ConnectionClosed as closed:
            raise Failure(f"the connection ended ({closed}) before {shorten(expected)!r} arrived") from None
        if line == expected:
            return
        expect(line.startswith("[system]"), f"{shorten(line)!r} arrived in place of {shorten(expected)!r}")


def shorten(text):
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


async def page(site):
    """The page comes, and administration doesn't."""
    status, body = await site.get("/")
    expect(status == 200 and b"<html" in body, f"the page is answered with {status}")
    for path in ["/metrics", "/readyz", "/api/connections"]:
        status, _ = await site.get(path)
        expect(status == 404, f"{path} is answered with {status} to everybody, though it belongs to --admin-listen")


async def address(site):
    """The server sees the client's address, and no other that the client claims."""
    claims = {"X-Forwarded-For": SPOOFED, "Forwarded": f"for={SPOOFED}"}
    async with site.join("Alan", "address", additional_headers=claims):
        seen = site.one.connections().get("Alan")
        expect(seen, "the first server's GET /api/connections doesn't show the client")
        expect(seen["address"] == CLIENT, f"the server takes {seen['address']} for the client's address {CLIENT}")


async def origin(site):
    """The site's own page may connect, another's may not."""
    try:
        async with site.connect("origin", origin="https://evil.example"):
            raise Failure("a page of another site may connect")
    except InvalidStatus as refused:
        status = refused.response.status_code
        expect(status == 403, f"a page of another site is refused with {status}, not with 403")


async def large_message(site):
    """A message of 1 MiB goes through, from one client and to another."""
    async with site.join("Ada", "large") as ada, site.join("Grace", "large") as grace:
        for sender, name, receiver in [(ada, "Ada", grace), (grace, "Grace", ada)]:
            text = random.randbytes(1 << 19).hex()
            await sender.send(text)
            await expect_line(receiver, f"[{name}] {text}")


async def idle(site):
    """A connection on which nothing is said outlives the proxy's timeout, by the server's heartbeats."""
    async with site.join("Ida", "idle") as ida, site.join("Ivo", "idle") as ivo:
        await asyncio.sleep(2 * IDLE_SECONDS + 1)
        await ida.send("still here")
        await expect_line(ivo, "[Ida] still here")


class Watch:
    """Does something again and again, and keeps what went wrong."""

    def __init__(self, what, once, pause):
        self.what, self.once, self.pause = what, once, pause
        self.is_over, self.times, self.problems = False, 0, []
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while not self.is_over:
            self.times += 1
            try:
                problem = await self.once()
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                self.problems.append(problem)
            await asyncio.sleep(self.pause)

    async def end(self):
        self.is_over = True
        await self.task
        expect(not self.problems, f"{len(self.problems)} of {self.times} {self.what}s failed: {self.problems[:3]}")


async def farewell(client):
    """Reads until the connection ends; what was wrong with how it did."""
    try:
        while True:
            await receive(client)
    except TimeoutError:
        return "a client wasn't told that the server stops"
    except ConnectionClosed as closed:
        frame = closed.rcvd
        if frame is None:
            return f"a client was cut off without a Close: {closed}"
        if frame.code != 1001 or not re.fullmatch(r"retry-after=\d+", frame.reason):
            return f"a client was told {frame.code} {frame.reason!r}, not 1001 with retry-after=S"


async def drain(site):
    """The first server stops: its clients are told so, and nobody else notices."""
    async def request():
        status, _ = await site.get("/healthz")
        return None if status == 200 else f"GET /healthz is answered with {status}"

    async def newcomer():
        async with site.connect("drain") as client:
            try:
                await client.send(f"Guest{random.getrandbits(40)}")
                await receive(client)
            except ConnectionClosed:
                # Let in just before the end.
                return await farewell(client)

    async with AsyncExitStack() as stack:
        names = [f"Client{number}" for number in range(8)]
        clients = [await stack.enter_async_context(site.join(name, "drain")) for name in names]
        expect(site.one.connections().keys() >= set(names), "the clients aren't on the first server")
        watches = [Watch("request", request, 0.05), Watch("new connection", newcomer, 0.1)]
        await asyncio.sleep(0.5)
        asked = time.monotonic()
        site.one.terminate()
        if site.checks_readiness:
            await move_in_time(site, clients)
        problems = [problem for problem in [await farewell(client) for client in clients] if problem]
        expect(not problems, f"{len(problems)} of {len(clients)} clients: {problems[:1]}")
        lasted = time.monotonic() - asked
        delay = site.one.drain_delay_seconds
        expect(lasted >= delay, f"clients were told {lasted:.1f} s after SIGTERM, before --drain-delay")
        code = await asyncio.to_thread(site.one.process.wait, delay + DRAIN_TIMEOUT_SECONDS + PATIENCE)
        expect(code == 0, f"the server ended its drain with status {code}: {site.one.last_words()}")
        # And some time with the second one alone.
        await asyncio.sleep(1)
        for watch in watches:
            await watch.end()
    async with site.join("Moved", "drain"):
        expect("Moved" in site.two.connections(), "a new client isn't on the second server after the first one's end")


async def move_in_time(site, clients):
    """A proxy that asks /readyz sends new clients elsewhere while the first server still serves."""
    while True:
        async with site.connect("drain") as client:
            await client.send("Early")
            await receive(client)
            if "Early" in site.two.connections():
                break
        expect(site.one.process.poll() is None, "nobody was sent to the second server before the first one's end")
        await asyncio.sleep(0.2)
    for client in clients:
        expect(client.state.name == "OPEN", "clients were sent away before new ones went to the second server")


async def no_heartbeat(site):
    """Without heartbeats, as on the second server, the proxy's timeout is there: `idle` shows something."""
    if not site.has_timeout:
        return
    async with site.join("Iris", "idle") as iris:
        expect("Iris" in site.two.connections(), "the client isn't on the second server")
        try:
            await asyncio.wait_for(iris.recv(), 2 * IDLE_SECONDS + 1)
        except TimeoutError:
            raise Failure(f"a connection without heartbeats outlived the timeout of {IDLE_SECONDS} s") from None
        except ConnectionClosed:
            pass


# In this order: the first server is gone after `drain`.
TESTS = (page, address, origin, large_message, idle, drain, no_heartbeat)


async def run(site, processes, tests):
    for test in tests:
        try:
            await test(site)
        except Exception as error:
            logs = "".join(f"\n--- the log of {process.name} ends so:\n{process.last_words()}" for process in processes)
            why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            raise Failure(f"{test.__doc__} It failed: {why}{logs}") from error
