"""Chromium and its tabs, in the words of the chat."""

import json

from playwright.sync_api import expect
from websockets.sync.client import connect

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# Slow machines run these tests too.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


class Tab:
    """A page of the chat. What it writes to the console is collected in `complaints`."""

    def __init__(self, context, url, path="/"):
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints = []
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url + path)

    def enter(self, name):
        self["#name"].fill(name)
        self["#come-in"].click()
        expect(self["#text"]).to_be_visible()
        self.is_live()
        return self

    def __getitem__(self, selector):
        return self.page.locator(selector)

    def is_live(self):
        expect(self["#state"]).to_have_attribute("data-phase", "live")

    def say(self, text):
        self["#text"].fill(text)
        self["#text"].press("Enter")

    def message(self, text):
        return self.page.locator("#messages > .message", has=self.page.locator(".text", has_text=text))

    def shows(self, text, count=1):
        expect(self.message(text)).to_have_count(count)

    def delivered(self, text):
        expect(self.message(text).locator("[aria-label=Delivered]")).to_have_count(1)

    def texts(self):
        return self["#messages > .message > .text"].all_text_contents()

    def stands_still(self):
        """Waits until nothing scrolls any more."""
        self["#log"].evaluate("""(log) => new Promise((done) => {
          let last = -1, same = 0;
          const look = () => {
            same = log.scrollTop === last ? same + 1 : 0;
            last = log.scrollTop;
            if (same > 20) done(); else requestAnimationFrame(look);
          };
          look();
        })""")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def focused(self):
        return self.page.evaluate("document.activeElement.id || document.activeElement.tagName")


class Speaker:
    """A member that is no browser."""

    def __init__(self, server, name, room="lobby"):
        self.room = room
        self.socket = connect(f"ws://127.0.0.1:{server.port}/rooms/{room}", subprotocols=["switchboard.v1.json"], max_queue=None)
        self.ids = 0
        self.send(type="hello", name=name)
        self.wait("joined")

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def wait(self, kind):
        while True:
            message = json.loads(self.socket.recv(timeout=PATIENCE_MS / 1000))
            if message["type"] == "error":
                raise RuntimeError(message)
            if message["type"] == kind:
                return message

    def say(self, *texts):
        """Says all of them at once and waits until they are acknowledged."""
        for text in texts:
            self.ids += 1
            self.send(type="publish", room=self.room, id=str(self.ids), text=text)
        return [self.wait("ack") for _ in texts]

    def close(self):
        self.socket.close()
