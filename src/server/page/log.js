// Draws a room's entries: one pass a frame at most, however many messages came.

import { avatar, day, dayName, element, linked, list, several, time } from "./text.js";

// Messages of one person within so long stand under one name.
const GROUP_MS = 5 * 60_000;
const NEAR_PX = 48;
const LOOSE_PX = 4;
const CONFIRM_MS = 4_000;

// Calls `handlers`: remove(entry), retry(entry), discard(entry), fill(gap), older(), seen(room).
export class Log {
  #scroller = document.getElementById("log");
  #list = document.getElementById("messages");
  #older = document.getElementById("older");
  #jump = document.getElementById("jump");
  #room = null;
  #me = { name: "", moderator: false };
  #handlers;
  #isDue = false;
  #top = 0;
  #below = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#scroller.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("click", (event) => this.#onClick(event));
    this.#older.addEventListener("click", () => this.#handlers.older());
    this.#jump.addEventListener("click", () => this.follow());
    // What is drawn late, a keyboard that opens, a window that shrinks: the end stays in view.
    const observer = new ResizeObserver(() => this.#stick());
    observer.observe(this.#list);
    observer.observe(this.#scroller);
  }

  set me(me) {
    this.#me = me;
  }

  show(room) {
    for (const entry of this.#room?.entries ?? []) entry.node = null;
    this.#room = room;
    this.#below = 0;
    this.#list.replaceChildren();
    room.isFollowed = true;
    this.changed();
  }

  // Draws at the next frame.
  changed() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.#room) this.#draw();
    });
  }

  // Something came; if one reads further up, it is counted on the button.
  arrived(count) {
    if (!this.#room.isFollowed) this.#below += count;
    this.changed();
  }

  // Goes to the end and stays there.
  follow() {
    this.#room.isFollowed = true;
    this.#below = 0;
    this.#stick();
    this.#drawJump();
    this.#handlers.seen(this.#room);
  }

  focus() {
    const last = this.#list.lastElementChild;
    if (last) this.#focus(last);
  }

  #draw() {
    const room = this.#room;
    room.trim();
    const height = this.#scroller.scrollHeight;
    const top = this.#scroller.scrollTop;
    const isFirst = !this.#list.firstElementChild;
    const anchor = this.#list.firstElementChild;
    // A screen reader shall speak what comes, not a history.
    this.#scroller.ariaBusy = String(isFirst);
    let following = null;
    for (let at = room.entries.length - 1; at >= 0; at -= 1) {
      const entry = room.entries[at];
      entry.node ??= this.#node(entry);
      if (entry.node.drawn !== entry.state + entry.text) this.#fill(entry);
      this.#place(entry, room.entries, at);
      if (entry.node.nextSibling !== following || entry.node.parentNode !== this.#list) {
        this.#list.insertBefore(entry.node, following);
      }
      following = entry.node;
    }
    this.#drawOlder();
    if (room.isFollowed) {
      this.#stick();
      if (isFirst) requestAnimationFrame(() => this.#stick());
    } else if (anchor !== this.#list.firstElementChild && top < NEAR_PX) {
      // Browsers keep what one reads in place, but not at the very top.
      this.#scroller.scrollTop = top + this.#scroller.scrollHeight - height;
    }
    this.#drawJump();
    if (isFirst) requestAnimationFrame(() => { this.#scroller.ariaBusy = "false"; });
  }

  #drawOlder() {
    const { hasOlder, isFull, entries, isAsking, state } = this.#room;
    this.#older.hidden = !hasOlder || isFull;
    this.#older.disabled = Boolean(isAsking);
    this.#older.textContent = isAsking ? "Loading…" : "Show older messages";
    const start = document.getElementById("start");
    start.hidden = state === "joining" || (hasOlder && !isFull);
    start.textContent = hasOlder
      ? "This is as far back as the page goes."
      : entries.some((entry) => entry.kind === "message")
        ? `The beginning of ${this.#room.name}`
        : `Nobody has said anything in ${this.#room.name} yet.`;
  }

  #drawJump() {
    const room = this.#room;
    this.#jump.hidden = room.isFollowed;
    this.#jump.textContent = this.#below ? `${several(this.#below, "new message")} ↓` : "To the newest ↓";
    this.#jump.classList.toggle("fresh", this.#below > 0);
  }

  #node(entry) {
    const node = element("li", { className: entry.kind, tabIndex: -1 });
    node.entry = entry;
    return node;
  }

  #fill(entry) {
    entry.node.drawn = entry.state + entry.text;
    if (entry.kind === "message") entry.node.replaceChildren(...this.#message(entry));
    else if (entry.kind === "gap") entry.node.replaceChildren(...gapParts(entry));
    else entry.node.replaceChildren(element("p", { dir: "auto" }, entry.text));
    entry.node.label = "";
    if (entry.tone) entry.node.classList.add(entry.tone);
  }

  #message(entry) {
    const isOwn = entry.from === this.#me.name;
    const { classList } = entry.node;
    classList.toggle("own", isOwn);
    classList.toggle("pending", entry.state === "pending");
    classList.toggle("failed", entry.state === "failed");
    const name = element("bdi", { className: "who" }, entry.from);
    const head = element("div", { className: "head" }, name, time(entry.time));
    if (isOwn) name.after(element("span", { className: "you" }, "you"));
    const text = element("p", { className: "text", dir: "auto" }, ...linked(entry.text));
    const foot = element("div", { className: "foot" });
    if (entry.state === "pending") foot.append(element("span", { className: "mark", title: "Not delivered yet" }, "sending…"));
    if (entry.state === "delivered") {
      const mark = element("span", { className: "mark", title: "Delivered" }, "✓");
      mark.role = "img";
      mark.ariaLabel = "Delivered";
      foot.append(mark);
    }
    const isSaid = entry.state === "said" || entry.state === "delivered";
    if (isSaid && (isOwn || this.#me.moderator)) {
      foot.append(action("remove", "Delete", `Delete the message “${entry.text.slice(0, 40)}”`));
    }
    if (entry.state === "failed") {
      foot.append(element("span", { className: "why" }, `Not sent: ${entry.why}`), action("retry", "Try again"), action("discard", "Discard"));
    }
    return [avatar(entry.from), head, text, foot];
  }

  // What depends on the entry before: day, group, where the unread ones begin.
  #place(entry, entries, at) {
    const { node } = entry;
    const before = entries[at - 1];
    const isMessage = entry.kind === "message";
    const isNewDay = isMessage && dayOf(entry) !== dayBefore(entries, at);
    const label = isNewDay ? dayName(entry.time) : "";
    if ((node.label ?? "") !== label) {
      node.label = label;
      node.querySelector(":scope > .day")?.remove();
      if (label) node.prepend(element("div", { className: "day" }, element("span", {}, label)));
    }
    const isMark = this.#room.mark === entry;
    if (isMark !== node.classList.contains("mark-new")) {
      node.classList.toggle("mark-new", isMark);
    }
    const follows = isMessage && !isNewDay && !isMark && before?.kind === "message" && before.from === entry.from
      && entry.time - before.time < GROUP_MS;
    node.classList.toggle("follows", follows);
  }

  #stick() {
    if (this.#room?.isFollowed) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const moved = scrollTop - this.#top;
    this.#top = scrollTop;
    const room = this.#room;
    if (!room) return;
    // Only a scroll upwards lets go of the end, and only one downwards takes hold of it: what is drawn late moves
    // things as well.
    const below = scrollHeight - scrollTop - clientHeight;
    if (room.isFollowed && moved < -1 && below > LOOSE_PX) {
      room.isFollowed = false;
      this.#drawJump();
    } else if (!room.isFollowed && moved > 0 && below < NEAR_PX) {
      this.follow();
    }
  }

  #onClick(event) {
    const button = event.target.closest("button[data-does]");
    if (button) this.#do(button);
  }

  #do(button) {
    const { entry } = button.closest("li");
    if (button.dataset.does === "remove" && !button.classList.contains("sure")) {
      ask(button);
      return;
    }
    this.#handlers[button.dataset.does](entry);
  }

  // One stop for the Tab key; arrows move among the messages, Delete asks and then deletes.
  #onKey(event) {
    const current = event.target.closest("#messages > li");
    const go = {
      ArrowUp: () => (current ? current.previousElementSibling : this.#list.lastElementChild),
      ArrowDown: () => current?.nextElementSibling,
      Home: () => current && this.#list.firstElementChild,
      End: () => current && this.#list.lastElementChild,
    }[event.key]?.();
    if (go) {
      event.preventDefault();
      this.#focus(go);
    } else if (event.key === "Delete" && current) {
      const button = current.querySelector("[data-does=remove], [data-does=discard]");
      if (!button) return;
      const next = current.nextElementSibling ?? current.previousElementSibling;
      const isDone = button.dataset.does === "discard" || button.classList.contains("sure");
      this.#do(button);
      if (isDone && next) this.#focus(next);
    }
  }

  #focus(node) {
    node.focus();
    node.scrollIntoView({ block: "nearest" });
  }
}

// A day is worked out once for each time that an entry gets.
function dayOf(entry) {
  if (entry.dayFor !== entry.time) {
    entry.dayFor = entry.time;
    entry.day = day(entry.time);
  }
  return entry.day;
}

// The day of what stands before; a gap has none.
function dayBefore(entries, at) {
  while (at > 0 && entries[at - 1].time === undefined) at -= 1;
  return at > 0 ? dayOf(entries[at - 1]) : undefined;
}

function action(does, text, label = text) {
  const button = element("button", { type: "button", className: "quiet" }, text);
  button.dataset.does = does;
  button.ariaLabel = label;
  return button;
}

// The first press of Delete asks, a second one within some seconds means it.
function ask(button) {
  const { textContent, ariaLabel } = button;
  button.classList.add("sure");
  button.textContent = "Really delete?";
  button.ariaLabel = `${ariaLabel}: press again to confirm`;
  setTimeout(() => {
    button.classList.remove("sure");
    Object.assign(button, { textContent, ariaLabel });
  }, CONFIRM_MS);
}

function gapParts(gap) {
  const what = gap.count ? `You missed ${several(gap.count, "message")}.` : "Some messages are missing here.";
  if (gap.state === "lost") {
    return [element("p", {}, "Some messages are missing here. The server doesn't have them any more.")];
  }
  const button = action("fill", gap.state === "asking" ? "Loading…" : "Show them");
  button.disabled = gap.state === "asking";
  return [element("p", {}, what), button];
}

// Who came and went, in one line.
export function presenceText(changes) {
  const came = [];
  const gone = [];
  for (const [name, event] of changes) (event === "join" ? came : gone).push(name);
  const say = (names, verb) => {
    const shown = names.length > 4 ? [...names.slice(0, 3), several(names.length - 3, "other")] : names;
    return names.length ? `${list(shown)} ${verb}` : "";
  };
  return [say(came, "joined"), say(gone, "left")].filter(Boolean).join(" · ");
}
