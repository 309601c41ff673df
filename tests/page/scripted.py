"""What a real server rarely does: the stand-in does it on command."""

import re

from browser import expect


def a_message_is_pending_until_it_is_acknowledged(world):
    ada = world.tab("Ada")
    world.server.acks = False
    ada.say("is it there?")
    expect(ada.message("is it there?")).to_have_class(re.compile("pending"))
    # The connection breaks before the acknowledgement: it is sent again by the same id, and is there once.
    world.server.acks = True
    world.server.cut_all()
    ada.delivered("is it there?")
    ada.shows("is it there?")
    assert len(world.server.rooms["lobby"].messages) == 1
    assert len(set(world.server.published)) == 1, world.server.published


def a_message_that_never_arrived_is_sent_again(world):
    ada = world.tab("Ada")
    world.server.is_deaf = True
    ada.say("first")
    ada.say("second")
    expect(ada.message("second")).to_have_class(re.compile("pending"))
    world.server.is_deaf = False
    world.server.cut_all()
    ada.delivered("second")
    assert [message["text"] for message in world.server.rooms["lobby"].messages] == ["first", "second"]


def a_message_that_was_acknowledged_to_nobody_is_not_said_twice(world):
    ada = world.tab("Ada")
    world.server.acks = False
    ada.say("once")
    expect(ada.message("once")).to_have_class(re.compile("pending"))
    # Not even if the page is loaded anew, which is another session: its history tells.
    world.server.acks = True
    ada.page.reload()
    ada.is_live()
    ada.delivered("once")
    assert len(world.server.rooms["lobby"].messages) == 1, world.server.rooms["lobby"].messages


def a_refused_message_can_be_tried_again(world):
    ada = world.tab("Ada")
    world.server.answers["publish"] = ("text_too_long", "that's too long")
    ada.say("a text")
    expect(ada.message("a text").locator(".why")).to_contain_text("that's too long")
    world.server.answers.clear()
    ada.message("a text").get_by_role("button", name="Try again").click()
    ada.delivered("a text")
    world.server.answers["publish"] = ("text_too_long", "that's too long")
    ada.say("another")
    ada.message("another").get_by_role("button", name="Discard").click()
    ada.shows("another", 0)


def a_text_over_the_limit_stays_in_the_field(world):
    ada = world.tab("Ada")
    ada["#text"].fill("x" * 2001)
    expect(ada["#composer-note"]).to_have_text("1 too many characters")
    ada["#text"].press("Enter")
    expect(ada["#composer-note"]).to_contain_text("at most 2,000 characters")
    expect(ada["#text"]).to_have_value("x" * 2001)


def missed_messages_are_said_and_can_be_had(world):
    ada = world.tab("Ada")
    world.server.say("lobby", "Grace", "seen")
    ada.shows("seen")
    room = world.server.rooms["lobby"]
    members, room.members = room.members, {}
    for number in range(12):
        world.server.say("lobby", "Grace", f"missed {number}")
    room.members = members
    world.server.tell("Ada", type="missed", room="lobby", count=12, first=2, last=13)
    world.server.say("lobby", "Grace", "later")
    gap = ada["#messages .gap"]
    expect(gap).to_contain_text("You missed 12 messages")
    gap.get_by_role("button").click()
    ada.shows("missed 11")
    expect(gap).to_have_count(0)
    assert ada.texts() == ["seen", *(f"missed {number}" for number in range(12)), "later"], ada.texts()


def a_gap_after_a_reconnect_is_shown(world):
    ada = world.tab("Ada")
    world.server.say("lobby", "Grace", "old")
    ada.shows("old")
    room = world.server.rooms["lobby"]
    members, room.members = room.members, {}
    for number in range(300):
        world.server.say("lobby", "Grace", f"away {number}")
    room.members = members
    world.server.forget("lobby", upto=100)
    world.server.cut_all()
    ada.shows("away 299")
    gap = ada["#messages .gap"]
    expect(gap).to_contain_text("missing here")
    gap.get_by_role("button").click()
    ada.shows("away 99")
    # The rest is gone for good, and that is said too.
    gap.get_by_role("button").click()
    expect(gap).to_contain_text("doesn't have them any more")
    assert ada.texts()[:2] == ["old", "away 99"], ada.texts()[:3]


def a_new_history_is_told_from_the_old_one(world):
    ada = world.tab("Ada")
    for number in range(5):
        world.server.say("lobby", "Grace", f"old {number}")
    ada.shows("old 4")
    world.server.forget("lobby")
    world.server.cut_all()
    expect(ada["#messages .event.warning"]).to_contain_text("new history")
    world.server.say("lobby", "Grace", "new")
    ada.shows("new")
    assert ada.texts() == [*(f"old {number}" for number in range(5)), "new"], ada.texts()


def the_server_says_when_to_come_back(world):
    ada = world.tab("Ada")
    world.server.close_all(1001, "retry-after=60")
    expect(ada["#state-text"]).to_contain_text(re.compile(r"Reconnecting in [67]\d s"))
    ada.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(ada["#state"]).to_have_attribute("data-phase", "waiting")
    ada["#now"].click()
    ada.is_live()


def the_backoff_has_full_jitter(world):
    tab = world.tab()
    waits = tab.page.evaluate("""async () => {
      const { delay } = await import("/page/connection.js");
      const most = (attempt, code = 1006, reason = "") => delay(attempt, code, reason, () => 1);
      const least = (attempt, code = 1006, reason = "") => delay(attempt, code, reason, () => 0);
      return {
        least: [least(0), least(9)], most: [most(0), most(1), most(4), most(40)],
        advised: [least(3, 1001, "retry-after=4"), most(3, 1001, "retry-after=4"), least(0, 1001, "retry-after=9999999")],
        other: [most(0, 1013, "retry-after=4"), most(0, 1001, "retry-after=x")],
      };
    }""")
    assert waits == {"least": [0, 0], "most": [500, 1000, 8000, 30000], "advised": [4000, 5000, 300000], "other": [500, 500]}, waits


def another_tab_may_take_over(world):
    ada = world.tab("Ada")
    world.server.close_all(4409, "taken over")
    expect(ada["#trouble"]).to_contain_text("another tab")
    ada["#now"].click()
    ada.is_live()
    expect(ada["#trouble"]).to_be_hidden()


def who_is_put_out_is_told_why(world):
    ada = world.tab("Ada")
    world.server.tell("Ada", type="kicked", room="lobby", by="Grace", reason="spam")
    expect(ada["#out-text"]).to_have_text("You were put out of lobby by Grace: spam")
    expect(ada["#text"]).to_be_hidden()
    world.server.answers["join"] = ("banned", "you are banned from lobby for 600 seconds")
    ada["#again"].click()
    expect(ada["#out-text"]).to_contain_text("banned")
    world.server.answers.clear()
    ada["#again"].click()
    expect(ada["#text"]).to_be_visible()


def a_moderator_may_put_out_and_delete(world):
    world.server.moderators.add("Ada")
    ada, grace = world.tab("Ada"), world.tab("Grace")
    grace.say("spam")
    ada.shows("spam")
    ada.message("spam").hover()
    button = ada.message("spam").locator("[data-does=remove]")
    button.click()
    button.click()
    grace.shows("spam", 0)
    ada.page.get_by_label("Kick: Grace").click()
    expect(grace["#out-text"]).to_contain_text("put out of lobby by Ada")
    expect(ada["#people li"]).to_have_count(1)


def a_hole_in_the_presence_is_mended(world):
    ada = world.tab("Ada")
    room = world.server.rooms["lobby"]
    room.version += 2
    room.members["Grace"] = room.members["Ada"]
    world.server.tell("Ada", type="presence", room="lobby", version=room.version, event="join", name="Linus", count=3)
    expect(ada["#people li bdi"]).to_have_text(["Ada", "Grace"])
    del room.members["Grace"]


def a_token_is_asked_for_when_one_is_needed(world):
    world.server.answers["hello"] = ("unauthorized", "a token is needed")
    tab = world.tab()
    tab["#name"].fill("Ada")
    tab["#come-in"].click()
    expect(tab["#token"]).to_be_focused()
    expect(tab["#door-error"]).to_contain_text("A token is needed")
    world.server.answers.clear()
    tab["#token"].fill("secret")
    tab["#come-in"].click()
    tab.is_live()
    # One that comes in the address is taken out of it.
    other = world.tab(path="/#token=abc", context=world.context())
    expect(other["#app"]).to_be_visible()
    assert "token" not in other.page.url


def a_notice_is_shown_as_text(world):
    ada = world.tab("Ada")
    world.server.tell("Ada", type="notice", level="warning", code="broker", text="the <b>broker</b> is away")
    expect(ada["#notes"]).to_contain_text("The <b>broker</b> is away.")
    ada.page.get_by_label("Dismiss").click()
    expect(ada["#notes .note"]).to_have_count(0)
    world.server.tell("Ada", type="notice", room="lobby", level="info", code="broker", text="it is back")
    expect(ada["#messages .event"]).to_have_text("it is back")
    world.server.tell("Ada", type="constructor")
    world.server.tell("Ada", type="brand_new")
    world.server.say("lobby", "Grace", "fine")
    ada.shows("fine")


def links_end_where_the_sentence_goes_on(world):
    tab = world.tab()
    found = tab.page.evaluate("""async () => {
      const { linked } = await import("/page/text.js");
      return ["see https://a.example/x.", "(https://a.example/x)", "https://a.example/(x)", "<https://a.example/>", "ftp://a.example javascript:x data:x",
        "http://", "HTTPS://A.example", "https://a.example/?q=1&b=[2],", "https://user\\u202e@a.example"]
        .map((text) => linked(text).filter((part) => part.href).map((part) => part.textContent));
    }""")
    assert found == [["https://a.example/x"], ["https://a.example/x"], ["https://a.example/(x)"], ["https://a.example/"], [], [],
                     ["HTTPS://A.example"], ["https://a.example/?q=1&b=[2]"], ["https://user"]], found
