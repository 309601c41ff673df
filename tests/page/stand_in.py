"""A chat server in memory that speaks the JSON form and does on command what a real one does rarely.

It serves the page from the source tree, so the page can be worked on without a build:

    python stand_in.py [PORT [FILE]]

With a file it keeps the history in it.

It knows of docs/chat-protocol.md what the page uses. It isn't the reference: the real server is.
"""

import asyncio
import json
import re
import secrets
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

PAGE = Path(__file__).resolve().parents[2] / "src" / "server" / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
ROOM = re.compile(r"/rooms/([A-Za-z0-9._-]{1,64})")


def now():
    return int(time.time() * 1000)


class Room:
    def __init__(self):
        self.epoch, self.messages, self.newest, self.floor, self.version = secrets.token_hex(3), [], 0, 0, 0
        self.members = {}


class Member:
    def __init__(self, socket):
        self.socket, self.name, self.rooms, self.acks = socket, None, set(), {}
        self.session = {"id": secrets.token_hex(4), "secret": secrets.token_hex(8)}

    async def tell(self, **message):
        try:
            await self.socket.send(json.dumps(message))
        except ConnectionClosed:
            pass


class StandIn:
    """`start()` serves on a thread of its own; the other methods without an underscore may be called from anywhere."""

    def __init__(self, port=0, file=None):
        self.port, self.rooms, self.sessions, self.held = port, {}, {}, {}
        self.acks, self.is_deaf, self.answers, self.moderators = True, False, {}, set()
        self.published = []
        self.file = open(file, "a+") if file else None
        if self.file:
            self.file.seek(0)
            for line in self.file:
                name, epoch, message = json.loads(line)
                room = self._room(name)
                room.epoch, room.newest = epoch, message["offset"]
                room.messages.append(message)

    def start(self):
        ready = threading.Event()

        def run():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
            self.stopping = asyncio.Event()
            self.loop.run_until_complete(self._serve(ready))

        threading.Thread(target=run, daemon=True).start()
        if not ready.wait(10):
            raise RuntimeError("the stand-in doesn't start")
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopping.set)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close_all(self, code=1001, reason=""):
        """Closes every connection; with 1001 the sessions are held."""

        async def close():
            for member in self._members():
                await member.socket.close(code, reason)

        self.run(close())

    def cut_all(self):
        """Drops every connection without a Close."""

        async def cut():
            for member in self._members():
                member.socket.transport.abort()

        self.run(cut())

    def say(self, room, name, text, **more):
        """Publishes as somebody who isn't there."""

        async def say():
            return await self._publish(self._room(room), room, name, text, None, **more)

        return self.run(say())

    def tell(self, to, /, **message):
        """Sends anything at all to a member."""

        async def tell():
            for member in self._members():
                if member.name == to:
                    await member.tell(**message)

        self.run(tell())

    def forget(self, room, upto=None):
        """Loses a room's history: all of it, with a new epoch, or what came before an offset."""
        it = self._room(room)
        if upto is None:
            it.epoch, it.messages, it.newest, it.floor = secrets.token_hex(3), [], 0, 0
        else:
            it.messages = [message for message in it.messages if message["offset"] > upto]
            it.floor = upto

    def _members(self):
        return {id(member): member for room in self.rooms.values() for member in room.members.values()}.values()

    def _room(self, name):
        return self.rooms.setdefault(name, Room())

    async def _serve(self, ready):
        async with serve(self._connection, "127.0.0.1", self.port, subprotocols=["switchboard.v1.json"],
                         process_request=self._http, compression=None, close_timeout=1) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await self.stopping.wait()

    def _http(self, _connection, request):
        if request.headers.get("Upgrade"):
            return None
        path = urlsplit(request.path).path
        name = "index.html" if path == "/" or ROOM.fullmatch(path) else path.removeprefix("/page/")
        file = PAGE / name
        headers = Headers({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Connection": "close"})
        if "/" in name or not file.is_file():
            return Response(HTTPStatus.NOT_FOUND, "Not Found", headers, b"")
        body = file.read_bytes()
        headers["Content-Type"] = TYPES.get(file.suffix, "text/javascript; charset=utf-8")
        headers["Content-Length"] = str(len(body))
        return Response(HTTPStatus.OK, "OK", headers, body)

    async def _connection(self, socket):
        match = ROOM.fullmatch(urlsplit(socket.request.path).path)
        member = Member(socket)
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "hello":
                    member = await self._hello(member, message, match.group(1) if match else "lobby")
                else:
                    await self._request(member, message)
        except ConnectionClosed:
            pass
        if member.socket is socket:
            code = socket.close_code
            if code in (1006, None) or (socket.protocol.close_rcvd_then_sent is False and code == 1001):
                self.held[member.session["id"]] = asyncio.get_running_loop().call_later(5, self._leave_later, member)
            else:
                await self._leave(member)

    def _leave_later(self, member):
        self.loop.create_task(self._leave(member))

    async def _leave(self, member):
        self.sessions.pop(member.session["id"], None)
        for name in list(member.rooms):
            await self._out(member, name)

    async def _out(self, member, name):
        room = self._room(name)
        member.rooms.discard(name)
        if room.members.pop(member.name, None):
            room.version += 1
            await self._to_all(room, None, type="presence", room=name, version=room.version, event="leave",
                               name=member.name, count=len(room.members))

    async def _to_all(self, to, but, /, **message):
        for member in list(to.members.values()):
            if member is not but:
                await member.tell(**message)

    async def _hello(self, member, message, path_room):
        if "hello" in self.answers:
            code, why = self.answers["hello"]
            await member.tell(type="error", code=code, message=why)
            return member
        session = message.get("session") or {}
        old = self.sessions.get(session.get("id"))
        places = {path_room: message.get("after")} | (message.get("rooms") or {})
        resumed = bool(old and old.session["secret"] == session.get("secret"))
        if resumed:
            if timer := self.held.pop(session["id"], None):
                timer.cancel()
            before, old.socket = old.socket, member.socket
            if before.state.name == "OPEN":
                await before.close(4409, "taken over")
            member = old
        else:
            name = " ".join((message.get("name") or message.get("token") or "").split())
            if not 0 < len(name) <= 32:
                await member.tell(type="error", code="name_invalid", message="a name has 1 to 32 characters")
                return member
            if name.lower() == "system" or name.lower() in (n.lower() for n in self._room(path_room).members):
                await member.tell(type="error", code="name_taken", message=f"somebody here is called {name}")
                return member
            member.name = name
            self.sessions[member.session["id"]] = member
        await member.tell(type="welcome", name=member.name, connection=1, session=member.session, resumed=resumed,
                          moderator=member.name in self.moderators, server="stand-in",
                          limits={"text": 2000, "message_bytes": 65536, "rooms": 128, "signal_bytes": 1024})
        for name in (sorted(member.rooms) if resumed else [path_room]):
            await self._join(member, name, places.get(name), None)
        return member

    async def _join(self, member, name, after, id):
        room = self._room(name)
        is_new = member.name not in room.members
        room.members[member.name] = member
        member.rooms.add(name)
        if is_new:
            room.version += 1
            await self._to_all(room, member, type="presence", room=name, version=room.version, event="join",
                               name=member.name, count=len(room.members))
        is_whole = bool(after) and after["epoch"] == room.epoch and after["offset"] >= room.floor
        history = [message for message in room.messages if is_whole and message["offset"] > after["offset"]][:1000]
        if not is_whole:
            history = room.messages[-100:]
            is_whole = not after and len(history) == len(room.messages) and room.floor == 0
        names = sorted(room.members)
        await member.tell(type="joined", room=name, offset=room.newest, epoch=room.epoch, complete=is_whole,
                          history=history, version=room.version, members=[{"name": n} for n in names[:1000]],
                          count=len(names), **({"id": id} if id else {}))

    async def _publish(self, room, name, sender, text, but, **more):
        room.newest += 1
        message = {"offset": room.newest, "time": now(), "from": sender, "text": text} | more
        room.messages.append(message)
        if self.file:
            print(json.dumps([name, room.epoch, message]), file=self.file, flush=True)
        await self._to_all(room, but, type="message", room=name, **message)
        return message

    async def _request(self, member, message):
        kind, id, name = message["type"], message.get("id"), message.get("room")
        if kind in self.answers:
            code, why = self.answers[kind]
            return await member.tell(type="error", id=id, room=name, code=code, message=why)
        if kind == "ping":
            return await member.tell(type="pong", id=id, time=now())
        room = self._room(name)
        if kind == "join":
            await self._join(member, name, message.get("after"), id)
        elif kind == "leave":
            await self._out(member, name)
            await member.tell(type="left", room=name, id=id)
        elif name not in member.rooms:
            await member.tell(type="error", id=id, room=name, code="not_joined", message="you aren't in that room")
        elif kind == "publish" and self.is_deaf:
            pass
        elif kind == "publish":
            self.published.append(id)
            is_again = id in member.acks
            if not is_again:
                member.acks[id] = await self._publish(room, name, member.name, message["text"], member)
            if self.acks:
                ack = member.acks[id]
                await member.tell(type="ack", id=id, room=name, offset=ack["offset"], time=ack["time"],
                                  **({"duplicate": True} if is_again else {}))
        elif kind == "signal":
            await self._to_all(room, member, type="signal", room=name, **{"from": member.name}, data=message["data"])
        elif kind == "members":
            names = sorted(room.members)
            await member.tell(type="members", room=name, id=id, version=room.version, count=len(names),
                              members=[{"name": n} for n in names])
        elif kind == "history":
            found = [m for m in room.messages
                     if m["offset"] > message.get("after", -1) and m["offset"] < message.get("before", 1 << 60)]
            limit = message.get("limit", 100)
            page = found[:limit] if "after" in message else found[-limit:]
            whole = len(page) == len(found) and (room.floor == 0 or message.get("after", -1) >= room.floor)
            await member.tell(type="history", room=name, id=id, epoch=room.epoch, messages=page, complete=whole)
        elif kind == "delete":
            room.messages = [m for m in room.messages if m["offset"] != message["offset"]]
            await member.tell(type="done", id=id)
            await self._to_all(room, None, type="deleted", room=name, offset=message["offset"], by=member.name)
        elif kind in ("kick", "ban"):
            if other := room.members.get(message["name"]):
                await other.tell(type="kicked", room=name, by=member.name, reason=message.get("reason", ""))
                await self._out(other, name)
            await member.tell(type="done", id=id)
        else:
            await member.tell(type="error", id=id, code="unknown_type", message=f"there is no {kind}")


if __name__ == "__main__":
    server = StandIn(int(sys.argv[1]) if len(sys.argv) > 1 else 9001, *sys.argv[2:3]).start()
    print(f"listening on ws://127.0.0.1:{server.port}", flush=True)
    threading.Event().wait()
