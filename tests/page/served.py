"""What holds against a real server."""

import re

from browser import Speaker, expect

DEAD = "WebSocket connection to"


def two_tabs_talk(world):
    ada, grace = world.tab("Ada"), world.tab("Grace")
    ada.say("Good morning, Grace")
    grace.shows("Good morning, Grace")
    ada.delivered("Good morning, Grace")
    grace.say("Good morning!\nHow are you?")
    ada.shows("Good morning!\nHow are you?")
    expect(ada.message("How are you?").locator(".who")).to_have_text("Grace")
    expect(ada["#people li"]).to_have_count(2)
    expect(ada["#show-people"]).to_have_attribute("aria-label", "2 here: show who")
    expect(ada["#state-text"]).to_contain_text("ms")


def who_comes_late_sees_the_history(world):
    ada, grace = world.tab("Ada"), world.tab("Grace")
    for number in range(5):
        (ada if number % 2 else grace).say(f"number {number}")
        ada.shows(f"number {number}")
        grace.shows(f"number {number}")
    late = world.tab("Linus")
    late.shows("number 4")
    assert late.texts() == [f"number {number}" for number in range(5)], late.texts()
    expect(late["#start"]).to_have_text("The beginning of lobby")


def both_come_back_when_the_server_was_killed(world):
    world.allowed = [DEAD]
    ada, grace = world.tab("Ada"), world.tab("Grace")
    ada.say("before")
    ada.delivered("before")
    grace.shows("before")
    world.server.kill()
    expect(ada["#trouble"]).to_be_visible()
    expect(grace["#trouble"]).to_contain_text("Trying again")
    # What is said meanwhile isn't lost.
    ada.say("said into the dark")
    expect(ada.message("said into the dark")).to_have_class(re.compile("pending"))
    world.server.start()
    for tab in (ada, grace):
        tab.is_live()
        expect(tab["#trouble"]).to_be_hidden()
        expect(tab["#messages .event"].filter(has_text="The connection was lost for")).to_have_count(1)
        tab.shows("before")
        tab.shows("said into the dark")
    ada.delivered("said into the dark")
    grace.say("after")
    ada.shows("after")
    assert ada.texts() == grace.texts() == ["before", "said into the dark", "after"], (ada.texts(), grace.texts())


def both_come_back_when_the_server_was_stopped(world):
    ada, grace = world.tab("Ada"), world.tab("Grace")
    world.allowed = [DEAD]
    ada.say("before")
    grace.shows("before")
    if world.server.binary:
        assert world.server.terminate() == 0
    else:
        world.server.kill()
    expect(ada["#trouble"]).to_contain_text("Trying again")
    world.server.start()
    for tab in (ada, grace):
        tab.is_live()
        expect(tab["#people li"]).to_have_count(2)
    grace.say("after")
    ada.shows("after")
    assert ada.texts() == grace.texts() == ["before", "after"], (ada.texts(), grace.texts())


def a_short_loss_is_no_leave(world):
    ada = world.tab("Ada", context=world.context())
    grace = world.tab("Grace", context=world.context())
    world.allowed = [DEAD]
    expect(ada["#people li"]).to_have_count(2)
    # A network that is gone without a word: what this connection sends doesn't arrive any more.
    ada.page.evaluate("""() => {
      const Real = WebSocket;
      const send = Real.prototype.send;
      Real.prototype.send = function (data) { if (this.isNew) send.call(this, data); };
      window.WebSocket = class extends Real { isNew = true; };
      // It may be back before anybody looks.
      const state = document.getElementById("state");
      new MutationObserver(() => { if (state.dataset.phase !== "live") state.dataset.wasLost = "yes"; })
        .observe(state, { attributes: true, attributeFilter: ["data-phase"] });
      window.dispatchEvent(new Event("offline"));
    }""")
    expect(ada["#state"]).to_have_attribute("data-was-lost", "yes")
    grace.say("are you there?")
    ada.is_live()
    ada.shows("are you there?")
    ada.say("I am")
    grace.shows("I am")
    expect(grace["#messages .event"]).to_have_count(0)
    expect(grace["#people li"]).to_have_count(2)


def what_came_while_one_was_away_is_there(world):
    ada = world.tab("Ada")
    ada.say("here")
    ada.delivered("here")
    world.allowed = [DEAD, "Content Security Policy"]
    # A page that sleeps: the connection is cut, and comes back when it is looked at again.
    ada.page.evaluate("""() => {
      const Real = WebSocket;
      window.WebSocket = class extends Real { constructor() { super("ws://127.0.0.1:9/"); } };
      window.wake = () => { window.WebSocket = Real; document.dispatchEvent(new Event("visibilitychange")); };
    }""")
    world.server.kill()
    expect(ada["#trouble"]).to_be_visible()
    world.server.start()
    grace = Speaker(world.server, "Grace")
    grace.say("one", "two", "three")
    ada.page.evaluate("wake()")
    ada.is_live()
    ada.shows("three")
    assert ada.texts() == ["here", "one", "two", "three"], ada.texts()
    expect(ada["#messages .event.back"]).to_contain_text("3 messages came meanwhile")
    grace.close()


def a_taken_name_is_said_clearly(world):
    world.tab("Ada")
    other = world.tab()
    other["#name"].fill("ada")
    other["#come-in"].click()
    expect(other["#door-error"]).to_contain_text("choose another")
    expect(other["#name"]).to_be_focused()
    expect(other["#name"]).to_have_attribute("aria-invalid", "true")
    other["#name"].fill("Ada Two")
    other["#name"].press("Enter")
    other.is_live()
    expect(other["#me-name"]).to_have_text("Ada Two")


def a_bad_name_is_said_clearly(world):
    tab = world.tab()
    tab["#come-in"].click()
    expect(tab["#door-error"]).to_contain_text("give a name")
    tab["#name"].fill("x" * 33)
    tab["#come-in"].click()
    expect(tab["#door-error"]).to_contain_text("32")
    expect(tab["#name"]).to_be_focused()


def a_thousand_messages_stay_fluent(world):
    tab = world.tab("Ada")
    speaker = Speaker(world.server, "Flood")
    tab.page.evaluate("""() => {
      window.longest = { task: 0, frame: 0, frames: 0 };
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) longest.task = Math.max(longest.task, entry.duration);
      }).observe({ type: "longtask" });
      let last = performance.now();
      const frame = (now) => {
        longest.frame = Math.max(longest.frame, now - last);
        longest.frames += 1;
        last = now;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    }""")
    speaker.say(*(f"message {number} " + "with some words " * (number % 7) for number in range(1000)))
    tab.shows("message 999 ")
    assert len(tab.texts()) == 1000
    assert [int(text.split()[1]) for text in tab.texts()] == list(range(1000))
    expect(tab.message("message 999 ")).to_be_in_viewport()
    # It still takes what is typed.
    tab.say("still here")
    tab.delivered("still here")
    longest = tab.page.evaluate("longest")
    # Only a freeze is an error: what a machine makes of it otherwise is its own.
    assert longest["frame"] < 2000 and longest["task"] < 2000, longest
    speaker.say(*(f"more {number}" for number in range(800)))
    tab.shows("more 799")
    speaker.say(*(f"yet more {number}" for number in range(600)))
    tab.shows("yet more 599")
    nodes = tab["#messages > li"].count()
    assert nodes <= 2000, nodes
    expect(tab["#older"]).to_be_attached()
    speaker.close()
    return f"longest frame {longest['frame']:.0f} ms, longest task {longest['task']:.0f} ms"


def markup_is_text(world):
    ada = world.tab("Ada")
    mean = '<img src=x onerror="window.pwned=1">'
    grace = world.tab(mean[:32])
    grace.say("<script>window.pwned = 1</script>")
    grace.say(mean)
    grace.say("javascript:alert(1) and https://example.org/<b> and http://example.org/a_(b).")
    ada.shows("javascript:alert(1)")
    ada.shows("<script>window.pwned = 1</script>")
    assert ada.texts()[1] == mean
    expect(ada["#people"]).to_contain_text(mean[:32])
    for tab in (ada, grace):
        assert tab.page.evaluate("window.pwned") is None
        assert tab["#messages script, #messages img, #messages b, #people img"].count() == 0
    links = ada["#messages a"]
    assert links.evaluate_all("(all) => all.map((a) => a.textContent)") == ["https://example.org/", "http://example.org/a_(b)"]
    for rel in links.evaluate_all("(all) => all.map((a) => a.rel)"):
        assert "noopener" in rel and "noreferrer" in rel, rel


def every_file_comes_with_a_strict_policy(world):
    paths = ["/", "/rooms/rust", "/page/app.js", "/page/style.css", "/page/icon.svg"]
    for path in paths:
        status, headers, body = world.server.get(path)
        assert status == 200 and body, (path, status)
        policy = headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
                     "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
            assert part in policy, (path, part)
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    # What the policy forbids doesn't run: markup made by a script isn't even made.
    tab = world.tab("Ada")
    refused = tab.page.evaluate("() => { try { document.body.innerHTML = '<p>'; return false; } catch { return true; } }")
    assert refused
    tab.complaints.clear()


def files_are_sent_once(world):
    if not world.server.binary:
        return "not with the stand-in"
    for path in ("/", "/page/app.js"):
        _, headers, _ = world.server.get(path)
        status, _, body = world.server.get(path, **{"If-None-Match": headers["ETag"]})
        assert (status, body) == (304, b""), (path, status)


def the_keyboard_alone_suffices(world):
    grace = world.tab("Grace")
    ada = world.tab()
    expect(ada["#name"]).to_be_focused()
    ada.page.keyboard.type("Ada")
    ada.press("Enter")
    ada.is_live()
    expect(ada["#text"]).to_be_focused()
    ada.page.keyboard.type("first line")
    ada.press("Shift+Enter")
    ada.page.keyboard.type("second line")
    ada.press("Enter")
    grace.shows("first line\nsecond line")
    ada.delivered("first line")
    # Up from the empty field is the last message; Delete asks, and deletes.
    ada.press("ArrowUp", "Delete")
    expect(ada.message("first line").locator("[data-does=remove]")).to_have_text("Really delete?")
    ada.press("Delete")
    grace.shows("first line", 0)
    ada.shows("first line", 0)
    # To another room and back, by Tab and Enter.
    ada["#join-room"].focus()
    ada.page.keyboard.type("rust")
    ada.press("Enter")
    expect(ada["#title"]).to_have_text("rust")
    expect(ada["#text"]).to_be_focused()
    ada.say("in rust")
    ada.delivered("in rust")
    ada.page.locator("#rooms a", has_text="lobby").focus()
    ada.press("Enter")
    expect(ada["#title"]).to_have_text("lobby")
    # Tab gets round: from the field to the button, on to the panels, never stuck.
    ada["#text"].focus()
    seen = []
    for _ in range(25):
        ada.press("Tab")
        seen.append(ada.focused())
    for stop in ("send", "exit", "join-room", "log"):
        assert stop in seen, (stop, seen)


def enter_leaves_an_input_method_alone(world):
    ada = world.tab("Ada")
    ada["#text"].fill("にほん")
    ada["#text"].evaluate("(field) => field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true }))")
    expect(ada["#text"]).to_have_value("にほん")
    ada["#text"].press("Enter")
    ada.delivered("にほん")


def rooms_have_addresses_and_unread_counts(world):
    grace = Speaker(world.server, "Grace", "rust")
    ada = world.tab("Ada", "/rooms/rust")
    expect(ada["#title"]).to_have_text("rust")
    ada["#join-room"].fill("no such room!")
    ada["#join-room"].press("Enter")
    expect(ada["#join-error"]).to_contain_text("1 to 64")
    ada["#join-room"].fill("tea")
    ada["#join-room"].press("Enter")
    expect(ada["#title"]).to_have_text("tea")
    assert ada.page.url.endswith("/rooms/tea")
    grace.say("one", "two")
    expect(ada["#rooms li[data-name=rust] .badge"]).to_contain_text("2")
    expect(ada.page).to_have_title("(2) tea · Switchboard")
    ada.page.go_back()
    expect(ada["#title"]).to_have_text("rust")
    ada.shows("two")
    expect(ada.page).to_have_title("rust · Switchboard")
    expect(ada["#messages .mark-new"]).to_contain_text("one")
    ada.page.get_by_label("Leave tea").click()
    expect(ada["#rooms li"]).to_have_count(1)
    grace.close()


def a_reload_goes_on_where_it_was(world):
    ada = world.tab("Ada", "/rooms/rust")
    ada.say("kept")
    ada.delivered("kept")
    ada["#text"].fill("a draft")
    ada.page.reload()
    ada.is_live()
    ada.shows("kept")
    expect(ada["#text"]).to_have_value("a draft")
    expect(ada["#me-name"]).to_have_text("Ada")
    # A new tab knows the name, and is somebody else.
    other = world.tab()
    expect(other["#name"]).to_have_value("Ada")


def typing_and_presence_are_shown(world):
    ada, grace = world.tab("Ada"), world.tab("Grace")
    expect(ada["#messages .event"]).to_have_text("Grace joined")
    grace["#text"].press_sequentially("hm")
    expect(ada["#typing"]).to_have_text("Grace is typing…")
    grace["#text"].fill("")
    expect(ada["#typing"]).to_be_hidden()
    grace.page.get_by_text("Sign out").click()
    expect(grace["#name"]).to_be_focused()
    expect(ada["#people li"]).to_have_count(1)
    expect(ada["#messages .event"]).to_have_text("Grace left")


def it_scrolls_only_at_the_end(world):
    ada = world.tab("Ada")
    grace = Speaker(world.server, "Grace")
    grace.say(*(f"line {number}" for number in range(80)))
    ada.shows("line 79")
    expect(ada.message("line 79")).to_be_in_viewport()
    ada["#log"].hover()
    ada.page.mouse.wheel(0, -900)
    expect(ada["#jump"]).to_be_visible()
    expect(ada.message("line 79")).not_to_be_in_viewport()
    ada.stands_still()
    place = ada.message("line 55").bounding_box()
    grace.say("a new one", "and another")
    expect(ada["#jump"]).to_contain_text("2 new messages")
    assert abs(ada.message("line 55").bounding_box()["y"] - place["y"]) < 2
    ada["#jump"].click()
    expect(ada.message("and another")).to_be_in_viewport()
    expect(ada["#jump"]).to_be_hidden()
    grace.close()


def older_messages_can_be_had(world):
    grace = Speaker(world.server, "Grace")
    grace.say(*(f"line {number}" for number in range(250)))
    ada = world.tab("Ada")
    ada.shows("line 249")
    assert len(ada.texts()) == 100
    while ada["#older"].is_visible():
        oldest = ada.texts()[0]
        ada["#older"].click()
        expect(ada["#older"]).not_to_have_text("Loading…")
        expect(ada["#messages .message .text"].first).not_to_have_text(oldest)
    assert [int(text.split()[1]) for text in ada.texts()] == list(range(250))
    grace.close()


def nothing_overflows_a_phone(world):
    context = world.context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    ada = world.tab("Ada", context=context)
    grace = Speaker(world.server, "W" * 32)
    grace.say("x" * 3000, "https://example.org/" + "y" * 300, "שלום לכולם")
    ada.shows("שלום")
    width = ada.page.evaluate("Math.max(document.documentElement.scrollWidth, document.getElementById('log').scrollWidth)")
    assert width <= 360, width
    cut = ada["#messages .text"].evaluate_all("(all) => all.filter((text) => text.scrollWidth > text.clientWidth).length")
    assert cut == 0, cut
    assert ada.message("שלום").locator(".text").evaluate("(p) => getComputedStyle(p).direction") == "rtl"
    ada["#show-people"].tap()
    expect(ada["#people-panel"]).to_be_in_viewport()
    ada.press("Escape")
    expect(ada["#people-panel"]).not_to_be_visible()
    ada["#show-rooms"].tap()
    expect(ada["#rooms-panel"]).to_be_in_viewport()
    ada["#shade"].tap(position={"x": 350, "y": 300})
    expect(ada["#rooms-panel"]).not_to_be_visible()
    grace.close()


def without_scripts_a_line_says_so(world):
    tab = world.tab(context=world.context(java_script_enabled=False))
    text = tab["body"].inner_text()
    assert text.startswith("This chat needs JavaScript"), text
    expect(tab["#door"]).to_be_hidden()
