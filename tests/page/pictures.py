"""Pictures of the page for the documentation: phone and desktop, light and dark."""

from browser import Speaker, expect

TALK = [
    ("Grace", "Morning! The new build is on the test machine."),
    ("Linus", "Nice. Anything I should look at first?"),
    ("Grace", "Reconnects. Pull the cable, count to ten, plug it back in:\nnothing should be missing."),
    ("Grace", "Notes are at https://example.org/notes/reconnect"),
    ("Zoë 🌻", "Did it three times on the train. It just came back each time 🎉"),
    ("Amina", "مرحبا من الدار البيضاء"),
    ("Linus", "Same here. I like that it says what came meanwhile."),
]


def taker(folder):
    def pictures_are_taken(world):
        speakers = {}
        for name in ("Grace", "Linus", "Zoë 🌻", "Amina", "Katherine"):
            speakers[name] = Speaker(world.server, name)
        garden = Speaker(world.server, "Emmy", "garden")
        tabs = []
        for width, height, device in ((1280, 800, "desktop"), (390, 844, "phone")):
            for scheme in ("light", "dark"):
                context = world.context(viewport={"width": width, "height": height}, device_scale_factor=2 if device == "phone" else 1,
                                        color_scheme=scheme, has_touch=device == "phone")
                tabs.append((f"{device}-{scheme}", context))
        for number, (device, context) in enumerate(tabs):
            tab = world.tab(path="/rooms/garden", context=context).enter("Ada")
            if tab["#show-rooms"].is_visible():
                tab["#show-rooms"].click()
            tab["#join-room"].fill("lobby")
            tab["#join-room"].press("Enter")
            expect(tab["#people li"]).to_have_count(6)
            if number == 0:
                for who, text in TALK:
                    speakers[who].say(text)
                    tab.shows(text)
                tab.say("Then let us ship it.")
                tab.delivered("Then let us ship it.")
            garden.say("The tomatoes are ripe")
            speakers["Katherine"].send(type="signal", room="lobby", data={"typing": True})
            expect(tab["#typing"]).to_be_visible()
            expect(tab["#state-text"]).to_contain_text("ms")
            tab.shows("Then let us ship it.")
            if device.startswith("phone"):
                tab.page.evaluate("document.activeElement.blur()")
            tab.page.mouse.move(2, 2)
            tab.page.wait_for_timeout(500)
            tab.page.screenshot(path=folder / f"page-{device}.png")
            context.close()
            world.contexts.remove(context)
        for speaker in (*speakers.values(), garden):
            speaker.close()
        return str(folder)

    return pictures_are_taken
