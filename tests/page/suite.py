"""Runs the tests: each a function whose name is the fact that it tests. Started by run.py, in its venv."""

import argparse
import sys
import time
import traceback
from pathlib import Path

from playwright.sync_api import sync_playwright

import pictures
import scripted
import served
from browser import FLAGS, Tab
from server import Server
from stand_in import StandIn


class World:
    """What a test gets: a server of its own, and browsers to open tabs in."""

    def __init__(self, browser, server):
        self.browser, self.server, self.tabs, self.contexts = browser, server, [], []
        self.url = getattr(server, "url", None) or f"http://127.0.0.1:{server.port}"
        # What the console may say besides nothing.
        self.allowed = []

    def context(self, **options):
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"} | options
        self.contexts.append(self.browser.new_context(**options))
        return self.contexts[-1]

    def tab(self, name=None, path="/", context=None):
        tab = Tab(context or (self.contexts[0] if self.contexts else self.context()), self.url, path)
        self.tabs.append(tab)
        return tab.enter(name) if name else tab

    def check_consoles(self):
        complaints = [
            text for tab in self.tabs for text in tab.complaints if not any(part in text for part in self.allowed)
        ]
        assert not complaints, f"the console says: {complaints}"

    def close(self):
        for context in self.contexts:
            context.close()


def facts(module):
    return [value for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")]


def run(test, browser, make_server):
    begun = time.monotonic()
    server = make_server()
    world = World(browser, server)
    try:
        said = test(world)
        world.check_consoles()
    except Exception:
        print(f"FAILED  {test.__name__}\n{traceback.format_exc()}", flush=True)
        for number, tab in enumerate(world.tabs):
            print(f"tab {number}: {tab.page.locator('body').inner_text()[-400:]!r}\nconsole: {tab.complaints}", flush=True)
        return False
    finally:
        world.close()
        server.stop()
    print(f"ok {time.monotonic() - begun:6.1f} s  {test.__name__}{f': {said}' if isinstance(said, str) else ''}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--chromium", required=True)
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    tests = [(test, lambda: Server(arguments.binary)) for test in facts(served)]
    tests += [(test, lambda: StandIn().start()) for test in facts(scripted)]
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
        tests += [(pictures.taker(arguments.screenshots), lambda: Server(arguments.binary))]
    tests = [(test, server) for test, server in tests if arguments.only in test.__name__]
    if not tests:
        raise SystemExit(f"no test has {arguments.only!r} in its name")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
        print(f"Chromium {browser.version}, {arguments.binary or 'the stand-in'}", flush=True)
        failed = [test.__name__ for test, server in tests if not run(test, browser, server)]
        browser.close()
    print(f"{len(tests) - len(failed)} of {len(tests)} are well{', FAILED: ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
