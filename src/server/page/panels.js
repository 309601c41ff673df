// The two panels beside the messages: the rooms, and who is here. On a narrow screen they are drawers.

import { avatar, element, several } from "./text.js";

const REDRAW_MS = 200;
const $ = (id) => document.getElementById(id);

// Calls `handlers`: go(name), leave(name), check(name) → what is wrong, and for moderators put(name, "kick" or "ban").
export class Panels {
  #handlers;
  #drawn = 0;
  #due;

  constructor(handlers) {
    this.#handlers = handlers;
    new ResizeObserver(onResize).observe($("app"));
    for (const [button, panel] of [["show-rooms", "rooms-panel"], ["show-people", "people-panel"]]) {
      $(button).addEventListener("click", () => toggle(panel));
      $(panel).querySelector(".close").addEventListener("click", () => close());
    }
    $("shade").addEventListener("click", close);
    document.addEventListener("keydown", (event) => event.key === "Escape" && close());
    $("rooms").addEventListener("click", (event) => this.#onRoom(event));
    $("people").addEventListener("click", (event) => this.#onPerson(event));
    $("join").addEventListener("submit", (event) => this.#onJoin(event));
  }

  drawRooms(rooms, current) {
    const focused = document.activeElement?.closest?.("#rooms li")?.dataset.name;
    const items = [...rooms.values()].map((room) => {
      const isCurrent = room === current;
      const link = element("a", { href: `/rooms/${room.name}`, className: "go" }, element("span", { className: "hash" }, "#"), element("bdi", {}, room.name));
      if (isCurrent) link.ariaCurrent = "page";
      if (room.unread && !isCurrent) {
        const badge = element("span", { className: "badge" }, room.unread > 99 ? "99+" : String(room.unread));
        badge.append(element("span", { className: "hidden" }, " unread"));
        link.append(badge);
      }
      if (room.state === "out") link.append(element("span", { className: "badge warn" }, "out"));
      const item = element("li", {}, link);
      item.dataset.name = room.name;
      if (rooms.size > 1) {
        const leave = element("button", { type: "button", className: "icon leave", title: `Leave ${room.name}` }, "✕");
        leave.ariaLabel = `Leave ${room.name}`;
        item.append(leave);
      }
      return item;
    });
    $("rooms").replaceChildren(...items);
    if (focused) items.find((item) => item.dataset.name === focused)?.querySelector("a").focus();
    const others = [...rooms.values()].some((room) => room !== current && room.unread);
    $("other-unread").hidden = !others;
    $("show-rooms").ariaLabel = others ? "Rooms, with unread messages" : "Rooms";
  }

  // At most five times a second: in a large room somebody always comes or goes.
  drawPeople(room, me) {
    clearTimeout(this.#due);
    const wait = this.#drawn + REDRAW_MS - performance.now();
    if (wait > 0) {
      this.#due = setTimeout(() => this.drawPeople(room, me), wait);
      return;
    }
    this.#drawn = performance.now();
    const names = [...room.members].sort((a, b) => (b === me.name) - (a === me.name) || collator.compare(a, b));
    $("show-people").hidden = room.state !== "in";
    $("people").replaceChildren(...names.map((name) => person(name, me)));
    $("people-more").hidden = room.count <= names.length;
    $("people-more").textContent = `and ${several(room.count - names.length, "other")}`;
    $("show-people").replaceChildren(element("span", {}, `${room.count.toLocaleString()}`), element("span", { className: "wide" }, " here"));
    $("show-people").ariaLabel = `${room.count.toLocaleString()} here: show who`;
    $("people-title").textContent = room.state === "in" ? `Here now · ${room.count.toLocaleString()}` : "Here now";
  }

  #onRoom(event) {
    const name = event.target.closest("li")?.dataset.name;
    if (!name || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (event.target.closest(".leave")) {
      this.#handlers.leave(name);
    } else {
      close();
      this.#handlers.go(name);
    }
  }

  #onPerson(event) {
    const button = event.target.closest("button[data-put]");
    if (button) this.#handlers.put(button.closest("li").dataset.name, button.dataset.put);
  }

  #onJoin(event) {
    event.preventDefault();
    const field = $("join-room");
    const name = field.value.trim();
    const wrong = this.#handlers.check(name);
    $("join-error").hidden = !wrong;
    $("join-error").textContent = wrong ?? "";
    field.ariaInvalid = String(Boolean(wrong));
    if (wrong) return;
    field.value = "";
    close();
    this.#handlers.go(name);
  }
}

const collator = new Intl.Collator(undefined, { sensitivity: "base" });

function person(name, me) {
  const item = element("li", {}, avatar(name), element("bdi", {}, name));
  item.dataset.name = name;
  if (name === me.name) {
    item.append(element("span", { className: "you" }, "you"));
  } else if (me.moderator) {
    for (const [put, label] of [["kick", "Kick"], ["ban", "Ban 10 min"]]) {
      const button = element("button", { type: "button", className: "quiet" }, label);
      button.dataset.put = put;
      button.ariaLabel = `${label}: ${name}`;
      item.append(button);
    }
  }
  return item;
}

function isDrawer(panel) {
  return getComputedStyle(panel).position === "fixed";
}

function toggle(id) {
  const app = $("app");
  const isOpen = app.dataset.open === id;
  if (isOpen) return close();
  if (!isDrawer($(id))) {
    // Beside the messages there is room for it: then the button only hides and shows it.
    app.classList.toggle("no-people");
    onResize();
    return undefined;
  }
  app.dataset.open = id;
  $("shade").hidden = false;
  $("room").inert = true;
  button(id).ariaExpanded = "true";
  $(id).querySelector("a, .close").focus();
  return undefined;
}

// What was a drawer may stand beside the messages now, and the other way round.
function onResize() {
  const app = $("app");
  if (app.dataset.open && !isDrawer($(app.dataset.open))) close();
  const isShown = isDrawer($("people-panel")) ? app.dataset.open === "people-panel" : !app.classList.contains("no-people");
  $("show-people").ariaExpanded = String(isShown);
}

function button(id) {
  return $(id === "rooms-panel" ? "show-rooms" : "show-people");
}

function close() {
  const app = $("app");
  const id = app.dataset.open;
  if (!id) return;
  delete app.dataset.open;
  $("shade").hidden = true;
  $("room").inert = false;
  button(id).ariaExpanded = "false";
  if ($(id).contains(document.activeElement)) button(id).focus();
}
