"""What proxies rely on, spoken by hand: the PROXY protocol's refusals, and /readyz while a server goes down."""

import socket

from processes import DRAIN_DELAY_SECONDS, DRAIN_TIMEOUT_SECONDS, PING_INTERVAL, Failure, Server, expect

PATIENCE = 15
UPGRADE = (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def run(binary, folder):
    refusals(binary, folder)
    readiness(binary, folder)


def ask(server, client=None):
    """Asks for a WebSocket, from behind a proxy if there is a client; the socket and the answer's head."""
    stream = socket.create_connection((server.host, server.port), PATIENCE)
    header = f"PROXY TCP4 {client} 127.0.0.1 50000 443\r\n".encode() if client else b""
    stream.sendall(header + UPGRADE)
    head = b""
    while b"\r\n\r\n" not in head:
        part = stream.recv(4096)
        if not part:
            raise Failure(f"the server closed the connection after {head!r}")
        head += part
    return stream, head.decode()


def expect_status(head, status, who):
    expect(head.split()[1] == str(status), f"{who} is answered with {head.splitlines()[0]!r}, not with {status}")
    expect(status != 503 or "retry-after:" in head.lower(), f"{who} isn't told when to come back")


def refusals(binary, folder):
    """Limits are the clients', not the proxy's, and whoever is over one is told so."""
    server = Server(binary, "refusals", folder, "--proxy-protocol", "--max-connections", "3",
                    "--max-connections-per-ip", "2")
    try:
        held = []
        for client, status, who in [
            ("192.0.2.1", 101, "a client's first connection"),
            ("192.0.2.1", 101, "its second one"),
            ("192.0.2.1", 503, "one over --max-connections-per-ip"),
            ("192.0.2.2", 101, "another client behind the same proxy"),
            ("192.0.2.3", 503, "one over --max-connections"),
        ]:
            stream, head = ask(server, client)
            expect_status(head, status, who)
            if status == 101:
                held.append(stream)
            else:
                stream.close()
                # A place is free again only once the server has seen the end of what it refused.
                server.wait_until(lambda: metric(server, "switchboard_connections") == len(held), "keeps a connection")
    finally:
        server.stop()


def metric(server, name):
    for line in server.get("/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise Failure(f"/metrics doesn't show {name}")


def readiness(binary, folder):
    """From SIGTERM to its end a server says that it isn't ready, and a client that never answers doesn't keep it."""
    server = Server(binary, "readiness", folder, "--ping-interval", PING_INTERVAL)
    try:
        stubborn, head = ask(server)
        expect_status(head, 101, "a client")
        server.terminate()
        server.wait_until(lambda: server.get("/readyz")[0] == 503, "says that it is ready, though it stops,")
        # Its Pings come first, then its Close; none is answered.
        frames = b""
        while b"\x88" not in frames:
            part = stubborn.recv(4096)
            expect(part, "the connection ended without a Close")
            frames += part
        expect(b"retry-after=" in frames, f"the Close doesn't say when to come back: {frames!r}")
        status = server.get("/readyz")[0]
        expect(status == 503, f"/readyz is answered with {status} after the listener's end")
        code = server.process.wait(DRAIN_DELAY_SECONDS + DRAIN_TIMEOUT_SECONDS + PATIENCE)
        expect(code == 0, f"the server ended its drain with status {code}: {server.last_words()}")
    finally:
        server.stop()
