"""What `switchboard connect` has to do, on a terminal and on pipes, with our server and with others."""

import json
import signal
import subprocess
import tempfile
import threading
import unittest

from stage import BINARY, PATIENCE, Chat, Line, Peer, PythonServer, Terminal, free_port, node_server, pipe

# What a stranger may send: a title, a cleared screen, a device query, C1, bidi, a faked line.
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[6n\x9b31m\u202etxt\u2066\x08\x7f\u200f\rover\n[bob] faked"


def echo(socket):
    for message in socket:
        socket.send(message)


class OnATerminal(unittest.TestCase):
    def join(self, server, name="Ada", **options):
        terminal = self.enterContext(Terminal(server.url, "--name", name, **options))
        terminal.see_prompt(f"#lobby {name}> ")
        return terminal

    def chat(self, *flags, **options):
        return self.enterContext(Chat(*flags, **options))

    def peer(self, server, name="Grace"):
        return self.enterContext(Peer(server.url, name))

    def test_the_prompt_survives_what_comes(self):
        server = self.chat()
        terminal = self.join(server)
        terminal.type("half a sen")
        terminal.see_prompt("#lobby Ada> half a sen")
        grace = self.peer(server)
        for number in range(30):
            grace.say(f"line {number}")
        terminal.see("[Grace] line 29")
        terminal.see_prompt("#lobby Ada> half a sen")
        rows = terminal.rows()
        self.assertEqual(rows[-4:-1], [f"[Grace] line {number}" for number in (27, 28, 29)])
        terminal.enter("tence")
        self.assertEqual(grace.hear(), "[Ada] half a sentence")
        terminal.see("#lobby Ada> half a sentence")
        terminal.see_prompt("#lobby Ada> ")

    def test_keys_edit_the_line_and_earlier_lines_come_back(self):
        server = self.chat()
        terminal, grace = self.join(server), self.peer(server)
        terminal.enter("wrld\x01hello \x05\x1b[D\x1b[D\x1b[Do")
        self.assertEqual(grace.hear(), "[Ada] hello world")
        terminal.enter("\x1b[A!")
        self.assertEqual(grace.hear(), "[Ada] hello world!")
        terminal.enter("hi Gr\t")
        self.assertEqual(grace.hear(), "[Ada] hi Grace")

    def test_a_paste_of_lines_is_one_message(self):
        server = self.chat()
        terminal, grace = self.join(server), self.peer(server)
        terminal.type("\x1b[200~one\rtwo\x1b[201~")
        terminal.see("one⏎two")
        terminal.enter("")
        self.assertEqual(grace.hear(), "[Ada] one\ntwo")
        terminal.see("#lobby Ada> one\n    two")

    def test_a_long_line_keeps_its_rows_apart_and_follows_a_resize(self):
        server = self.chat()
        terminal, grace = self.join(server, columns=40, rows=12), self.peer(server)
        terminal.see("Grace joined")
        terminal.type("x" * 60)
        terminal.see("#lobby Ada> " + "x" * 27 + "\n" + "x" * 33)
        grace.say("above")
        terminal.see("[Grace] above\n#lobby Ada> " + "x" * 27 + "\n" + "x" * 33)
        terminal.resize(60, 12)
        terminal.type("y")
        terminal.see("#lobby Ada> " + "x" * 47 + "\n" + "x" * 13 + "y")

    def test_commands(self):
        server = self.chat()
        terminal, grace = self.join(server), self.peer(server)
        terminal.enter("/who")
        terminal.see("* #lobby, 2 here: Ada, Grace")
        terminal.enter("/rtt")
        terminal.see("* there and back in ")
        terminal.enter("/whp")
        terminal.see("! there is no command /whp: did you mean /who?")
        terminal.enter("//who")
        self.assertEqual(grace.hear(), "[Ada] /who")
        terminal.enter("/help")
        terminal.see("/join ROOM")
        terminal.enter("/join rust")
        terminal.see("* you are in #rust with nobody else")
        terminal.see_prompt("#rust Ada> ")
        grace.say("in the lobby")
        terminal.see("#lobby [Grace] in the lobby")
        terminal.enter("/leave")
        terminal.see_prompt("#lobby Ada> ")
        terminal.enter("/join no such room")
        terminal.see("! write /join ROOM")
        terminal.enter("/join a/b")
        terminal.see("! #a/b can't be entered: a room's name has")
        terminal.enter("/quit")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(grace.hear(), "[system] >>> Ada left the chat")

    def test_the_terminal_is_given_back(self):
        server = self.chat()
        for leave in ("/quit\r", "\x04", "\x03"):
            terminal = self.join(server)
            self.assertEqual(terminal.modes(), (False, False))
            terminal.type(leave)
            self.assertEqual(terminal.end(), 0)
            self.assertIn(b"\x1b[?2004l", terminal.bytes)
        terminal = self.join(server)
        server.kill(signal.SIGTERM)
        terminal.see("connection lost")
        terminal.type("\x03")
        self.assertEqual(terminal.end(), 0)

    def test_who_joins_sees_the_last_lines(self):
        server = self.chat()
        grace = self.peer(server)
        for number in range(30):
            grace.say(f"line {number}.")
        # The room has them once somebody else has heard them.
        with Peer(server.url, "Eve") as eve:
            grace.say("last")
            while eve.hear() != "[Grace] last":
                pass
        terminal = self.enterContext(Terminal(server.url, "--name", "Ada", rows=40))
        terminal.see("* the last 20 messages of #lobby:\n[Grace] line 11.")
        self.assertNotIn("line 10.", terminal.text())

    def test_a_taken_name_is_asked_for_again(self):
        server = self.chat()
        self.peer(server, "Ada")
        terminal = self.enterContext(Terminal(server.url, "--name", "Ada"))
        terminal.see("! this name is")
        terminal.see_prompt("another name> ")
        terminal.enter("Bea")
        terminal.see_prompt("#lobby Bea> ")

    def test_a_server_that_comes_back_has_lost_nothing(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        port = free_port()
        server = self.chat("--data-dir", folder, port=port)
        terminal = self.join(server)
        with Peer(server.url, "Grace") as grace:
            grace.say("before")
            terminal.see("[Grace] before")
        server.kill()
        terminal.see("* connection lost: ")
        terminal.see_prompt("(offline) #lobby Ada> ")
        terminal.enter("typed meanwhile")
        terminal.see("* this waits for a connection (1 of at most 1000)")
        server = self.chat("--data-dir", folder, port=port)
        grace = self.peer(server)
        # It may be back before or after these.
        for number in range(4):
            grace.say(f"meanwhile {number}")
        terminal.see("back again; ")
        heard = grace.hear()
        while "[Ada]" not in heard:
            heard = grace.hear()
        self.assertEqual(heard, "[Ada] typed meanwhile")
        terminal.see("[Grace] meanwhile 3")
        text = terminal.text()
        for number in range(4):
            self.assertEqual(text.count(f"meanwhile {number}"), 1, text)
        terminal.see_prompt("#lobby Ada> ")
        terminal.enter("and now")
        self.assertEqual(grace.hear(), "[Ada] and now")

    def test_a_cut_line_is_taken_up_again_and_nobody_notices(self):
        server = self.chat()
        line = self.enterContext(Line(server.port))
        grace = self.peer(server)
        terminal = self.join(line)
        self.assertEqual(grace.hear(), "[system] >>> Ada joined the chat")
        line.cut()
        grace.say("one")
        grace.say("two")
        terminal.see("* connection lost: ")
        terminal.type("\r")
        terminal.see("* back again; 2 messages missed\n[Grace] one\n[Grace] two")
        terminal.enter("here I am")
        self.assertEqual(grace.hear(), "[Ada] here I am")

    def test_a_connection_that_the_server_believes_in_is_taken_over(self):
        server = self.chat()
        line = self.enterContext(Line(server.port))
        grace = self.peer(server)
        terminal = self.join(line)
        self.assertEqual(grace.hear(), "[system] >>> Ada joined the chat")
        line.cut_here()
        terminal.see("* connection lost: ")
        terminal.type("\r")
        terminal.see("* back again; nothing missed")
        terminal.enter("here I am")
        self.assertEqual(grace.hear(), "[Ada] here I am")

    def test_a_flood_leaves_the_prompt_in_its_place(self):
        server = self.chat("--rate-messages", "0")
        terminal, grace = self.join(server), self.peer(server)
        terminal.type("half")
        for number in range(3000):
            grace.say(f"line {number}")
        terminal.see("[Grace] line 2999")
        terminal.see_prompt("#lobby Ada> half")

    def test_nothing_of_strangers_reaches_the_terminal_but_text(self):
        server = self.chat()
        terminal, grace = self.join(server), self.peer(server)
        grace.say(EVIL)
        terminal.see("[Grace] ]0;owned[2J[6n31mtxtover\n    [bob] faked")

        def fake(socket):
            socket.recv()
            session = {"id": "i", "secret": "s"}
            for message in (
                {"type": "welcome", "name": "Ada" + EVIL, "session": session, "resumed": False},
                {"type": "joined", "room": "r" + EVIL, "offset": 1, "epoch": "e", "complete": True, "count": 2,
                 "history": [{"offset": 1, "time": 1, "from": "a" + EVIL, "text": EVIL}],
                 "version": 1, "members": [{"name": EVIL}]},
                {"type": "presence", "room": EVIL, "version": 2, "event": "join", "name": EVIL, "count": 3},
                {"type": "notice", "level": "info", "code": EVIL, "text": EVIL},
                {"type": "error", "code": EVIL, "message": EVIL},
                {"type": "kicked", "room": "r" + EVIL, "by": EVIL, "reason": EVIL},
            ):
                socket.send(json.dumps(message))
            socket.recv()
            socket.close(4000, "\x1b]0;owned\x07\u202e")

        faked = self.enterContext(PythonServer(fake, subprotocols=["switchboard.v1.json"]))
        victim = self.enterContext(Terminal(faked.url, "--name", "Ada"))
        victim.see("put you out of")
        victim.enter("hello")
        victim.enter("/join x")
        victim.see("4000")
        plain = self.enterContext(PythonServer(lambda socket: [socket.send(EVIL), socket.recv()]))
        third = self.enterContext(Terminal(plain.url))
        third.see("[bob] faked")
        for one in (terminal, victim, third):
            self.assertEqual(one.screen.title, "")
            written = one.without_styles()
            for char in "\x1b\x9b\x07\x08\x7f\u202e\u2066\u200f":
                self.assertNotIn(char, written)

    def test_colours_are_for_names_and_not_with_no_color(self):
        server = self.chat()
        terminal, grace = self.join(server), self.peer(server)
        grace.say("hi")
        terminal.see("[Grace] hi")
        self.assertRegex(terminal.bytes, rb"\x1b\[3\d(;1)?m\[Grace\]\x1b\[0m hi")
        plain = self.join(server, "Eve", environment={"NO_COLOR": "1"})
        grace.say("hi again")
        plain.see("[Grace] hi again")
        self.assertNotRegex(plain.bytes, rb"\x1b\[[\d;]*m")

    def test_what_was_refused_is_marked(self):
        server = self.chat("--max-text", "10")
        terminal = self.join(server)
        terminal.enter("longer than ten")
        terminal.see('! not delivered: "longer than ten": this text is longer')

    def test_json_is_shown_as_it_came(self):
        server = self.chat()
        terminal = self.enterContext(Terminal(server.url, "--name", "Ada", "--json", columns=200))
        terminal.see('{"type":"joined","room":"lobby"')
        grace = self.peer(server)
        terminal.enter('{"type":"publish","room":"lobby","text":"by hand"}')
        self.assertEqual(grace.hear(), "[Ada] by hand")
        grace.say("\u202ehi")
        terminal.see(r'"text":"\u202ehi"')

    def test_a_first_connection_that_fails_is_the_end(self):
        terminal = self.enterContext(Terminal(f"ws://127.0.0.1:{free_port()}"))
        self.assertEqual(terminal.end(), 1)
        terminal.see("switchboard: can't connect to ")
        terminal = self.enterContext(Terminal("wss://127.0.0.1/", columns=200))
        self.assertEqual(terminal.end(), 1)
        terminal.see("TLS")


class WithOtherServers(unittest.TestCase):
    def talk(self, terminal, after_name):
        if after_name:
            terminal.see(after_name)
        terminal.enter("hello")
        terminal.see("> hello\nhello")
        terminal.enter("/who")
        terminal.see("! this is for chat servers")
        terminal.enter("/rtt")
        terminal.see("there and back in")
        terminal.enter("/quit")
        self.assertEqual(terminal.end(), 0)

    def test_python_websockets(self):
        server = self.enterContext(PythonServer(echo))
        with Terminal(server.url, "--name", "Ada") as terminal:
            self.talk(terminal, "Ada")
        self.assertEqual(pipe(server.url, "--wait", "200ms", input="one\ntwo\n"), (0, ["one", "two"], ""))

    def test_python_websockets_that_wants_another_subprotocol(self):
        server = self.enterContext(PythonServer(echo, subprotocols=["superchat"]))
        with Terminal(server.url, "--subprotocol", "superchat", "--name", "Ada") as terminal:
            self.talk(terminal, "Ada")

    def test_node_ws_that_takes_any_subprotocol(self):
        server = self.enterContext(node_server())
        with Terminal(server.url, "--name", "Ada") as terminal:
            self.talk(terminal, "* this server doesn't speak the chat's JSON form: plain text from here\nAda")
        self.assertEqual(pipe(server.url, "--wait", "200ms", input="one\ntwo\n"), (0, ["one", "two"], ""))

    def test_a_server_that_goes_and_comes_back(self):
        def once(socket):
            socket.send("here")
            if not seen.is_set():
                seen.set()
                socket.close(1012, "restart")
            else:
                echo(socket)

        seen = threading.Event()
        server = self.enterContext(PythonServer(once))
        with Terminal(server.url) as terminal:
            terminal.see("here\n* connection lost: the server closed the connection with 1012")
            terminal.see("* back again\nhere")


class OnAPipe(unittest.TestCase):
    def test_json_in_and_out(self):
        server = self.enterContext(Chat())
        grace = self.enterContext(Peer(server.url, "Grace"))
        request = json.dumps({"type": "ping", "id": "7"})
        code, lines, errors = pipe(server.url, "--name", "Ada", "--json", input=f"hello\n{request}\n")
        self.assertEqual((code, errors), (0, ""))
        kinds = [json.loads(line)["type"] for line in lines]
        self.assertEqual(kinds[:2], ["welcome", "joined"])
        self.assertIn("ack", kinds)
        self.assertIn("pong", kinds)
        self.assertEqual([grace.hear(), grace.hear()], ["[system] >>> Ada joined the chat", "[Ada] hello"])

    def test_exit_codes(self):
        server = self.enterContext(Chat())
        self.enterContext(Peer(server.url, "Ada"))
        for arguments, code in (
            ([server.url, "--name", "Bea"], 0),
            ([server.url, "--name", "Ada"], 1),
            ([server.url, "--name", "Ada", "--json"], 1),
            ([server.url + "/nowhere"], 1),
            ([f"ws://127.0.0.1:{free_port()}"], 1),
            ([server.url, "--nonsense"], 2),
            ([], 2),
        ):
            self.assertEqual(pipe(*arguments)[0], code, arguments)
        refused = self.enterContext(Chat("--max-text", "3"))
        code, _, errors = pipe(refused.url, "--name", "Ada", "--json", input="too long\n")
        self.assertIn("not delivered", errors)
        self.assertEqual(code, 1)

    def test_who_comes_back_waits_for_the_name_that_is_held(self):
        server = self.enterContext(Chat("--ping-interval", "1s", "--pong-timeout", "4s"))
        line = self.enterContext(Line(server.port))
        grace = self.enterContext(Peer(server.url, "Grace"))
        command = [BINARY, "connect", line.url, "--name", "Ada", "--reconnect"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as talk:
            self.assertEqual(talk.stdout.readline(), "Welcome, Ada!\n")
            self.assertEqual(grace.hear(), "[system] >>> Ada joined the chat")
            line.cut_here()
            self.assertIn("connection lost", talk.stderr.readline())
            talk.stdin.write("not a name\n")
            talk.stdin.close()
            self.assertEqual(grace.hear(), "[system] >>> Ada left the chat")
            self.assertEqual(grace.hear(), "[system] >>> Ada joined the chat")
            self.assertEqual(grace.hear(), "[Ada] not a name")
            code = talk.wait(PATIENCE)
            self.assertEqual(code, 0, talk.stderr.read())

    def test_with_reconnect_every_line_arrives(self):
        port = free_port()
        command = [BINARY, "connect", f"ws://127.0.0.1:{port}", "--name", "Ada", "--reconnect"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as talk:
            talk.stdin.write("one\n")
            talk.stdin.flush()
            self.assertIn("can't connect: Connection refused", talk.stderr.readline())
            with Chat(port=port) as server:
                with Peer(server.url, "Grace") as grace:
                    heard = {grace.hear(), grace.hear()}
                    self.assertEqual(heard, {"[system] >>> Ada joined the chat", "[Ada] one"})
                    server.kill()
            with Chat(port=port) as server, Peer(server.url, "Grace") as grace:
                self.assertEqual(grace.hear(), "[system] >>> Ada joined the chat")
                talk.stdin.write("two\n")
                talk.stdin.close()
                self.assertEqual(grace.hear(), "[Ada] two")
                self.assertEqual(talk.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
