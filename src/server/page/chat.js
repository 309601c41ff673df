// The client's side of the JSON form: who we are, the rooms we are in, what was sent and isn't acknowledged.

import { Connection } from "./connection.js";
import { Outbox, publication } from "./outbox.js";
import { fill, older } from "./history.js";
import { presenceText } from "./log.js";
import { Requests } from "./requests.js";
import { Room } from "./room.js";
import { store } from "./store.js";
import { characters, duration, several } from "./text.js";

// Of these, no address can name the rooms "." and "..": a browser takes them for steps of the path.
export const ROOM_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/;
// Beyond so many people nobody wants to read who comes and goes.
const PRESENCE_LINES = 30;
const RETRY_MS = 2_000;
const TYPING_MS = 6_000;

// Calls `ui`: status(), entered(), refused(error), ended(code, reason), switched(), changed(room), arrived(room, count),
// rooms(), people(room), typing(room), note(text, level), announce(text).
export class Chat {
  rooms = new Map();
  current = null;
  me = { name: "", moderator: false };
  limits = {};
  #ui;
  #connection;
  #session = null;
  #token = null;
  #requests;
  #outbox = new Outbox();
  #connected = 0;
  #away = 0;

  constructor(ui) {
    this.#ui = ui;
    this.#connection = new Connection({
      url: () => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/rooms/${this.current.name}`,
      hello: () => this.#hello(),
      welcome: (message) => this.#welcome(message),
      message: (message) => this.#on[message.type]?.(message),
      refused: (error) => ui.refused(error),
      lost: (code) => this.#lost(code),
      ended: (code, reason) => ui.ended(code, reason),
      changed: () => ui.status(),
    });
    this.#requests = new Requests((message) => this.#connection.send(message));
  }

  get connection() {
    return this.#connection;
  }

  get unread() {
    let total = 0;
    for (const room of this.rooms.values()) total += room.unread;
    return total;
  }

  // Comes in by a name; a session of this tab by the same name goes on.
  enter({ name, room, token }) {
    const session = store.session;
    this.#session = session?.name === name ? session : null;
    this.#token = token;
    this.me = { name, moderator: false };
    if (this.rooms.size === 0) {
      for (const known of [...store.rooms, room]) if (ROOM_NAME.test(known)) this.#add(known);
      this.#outbox.restore(name, this.rooms);
    }
    this.current = this.#add(room);
    this.#ui.switched();
    this.#connection.open();
  }

  // Wasn't let in, or not any more: the next try is another session.
  refuse() {
    this.#connection.close();
    this.#session = store.session = null;
    if (this.#connected > 0) return;
    this.rooms.clear();
    this.#outbox.clear();
  }

  exit() {
    this.#connection.close();
    this.#requests.lose();
    this.#outbox.clear();
    this.rooms.clear();
    this.#session = null;
    this.#connected = 0;
    store.session = store.token = store.outbox = store.rooms = store.drafts = null;
  }

  // Goes to a room, and joins it if need be.
  go(name) {
    const known = this.rooms.get(name);
    const room = known ?? this.#add(name);
    if (this.current && this.current !== room) this.current.mark = this.current.unread ? this.current.mark : null;
    this.current = room;
    if (!known) this.join(room);
    this.#ui.switched();
  }

  join(room) {
    room.state = "joining";
    this.#requests.ask({ type: "join", room: room.name, after: room.after }, null, (error) => {
      // Without a code it was the connection, and the next one joins again.
      if (room.state === "in" || !error.code) return;
      room.state = "out";
      room.why = error.message;
      this.#changed(room);
    });
    this.#changed(room);
  }

  leave(room) {
    this.#connection.send({ type: "leave", room: room.name });
    this.rooms.delete(room.name);
    this.#outbox.drop(room);
    store.rooms = [...this.rooms.keys()];
    if (this.current === room) this.go([...this.rooms.keys()][0]);
    else this.#ui.rooms();
  }

  // Somebody looked at the newest messages.
  see(room) {
    if (!room.unread) return;
    room.unread = 0;
    this.#ui.rooms();
  }

  // Says something in the current room. Returns what is wrong with it, if anything is.
  publish(text) {
    const room = this.current;
    const { text: most, message_bytes: bytes } = this.limits;
    if (room.state === "out") return "You aren't in this room.";
    if (most && characters(text) > most) return `Too long: at most ${several(most, "character")}.`;
    const id = this.#requests.id();
    const whole = JSON.stringify(publication({ id, room: room.name, text }));
    if (bytes && new TextEncoder().encode(whole).length > bytes) return "Too long for this server.";
    if (this.#outbox.isFull) return "Too much is waiting for the connection. Your text stays here until there is room.";
    const base = room.newestOffset;
    const entry = room.addPending({ id, text, from: this.me.name, time: Date.now(), base, epoch: room.epoch });
    room.mark = null;
    this.#outbox.add(room, entry);
    this.#flush(room);
    this.#ui.arrived(room, 0);
    return null;
  }

  type(isTyping) {
    if (this.current.state === "in" && this.current.count > 1) {
      this.#connection.send({ type: "signal", room: this.current.name, data: { typing: isTyping } });
    }
  }

  retry(entry) {
    const room = this.current;
    entry.state = "pending";
    this.#outbox.add(room, entry);
    this.#flush(room);
    this.#changed(room);
  }

  discard(entry) {
    this.current.drop(entry);
    this.#changed(this.current);
  }

  remove(entry) {
    this.#requests.ask({ type: "delete", room: this.current.name, offset: entry.offset });
  }

  // "kick", or "ban" for ten minutes.
  put(name, type) {
    this.#requests.ask({ type, room: this.current.name, name, ...(type === "ban" && { seconds: 600 }) });
  }

  older() {
    const room = this.current;
    older(room, this.#requests, () => this.#changed(room));
  }

  fill(gap) {
    const room = this.current;
    fill(room, gap, this.#requests, () => this.#changed(room));
  }

  #on = {
    __proto__: null,
    joined: (message) => this.#joined(message),
    message: (message) => {
      const room = this.rooms.get(message.room);
      const entry = room?.receive(message);
      if (!entry) return;
      this.#count(room, [entry]);
      this.#ui.typing(room);
      this.#ui.arrived(room, 1);
    },
    ack: (message) => {
      const item = this.#outbox.take(message.id);
      if (!item) return;
      const room = this.rooms.get(item.room);
      room?.settle(item.entry, message);
      this.#changed(room);
    },
    presence: (message) => this.#presence(message),
    members: (message) => {
      const room = this.rooms.get(message.room);
      if (room && message.version >= room.version) room.setMembers(message);
      this.#requests.answer(message);
      this.#ui.people(room);
    },
    signal: ({ room: name, from, data }) => {
      const room = this.rooms.get(name);
      if (!room || from === this.me.name) return;
      if (data?.typing) room.typing.set(from, performance.now() + TYPING_MS);
      else room.typing.delete(from);
      this.#ui.typing(room);
    },
    deleted: ({ room: name, offset }) => {
      const room = this.rooms.get(name);
      room?.delete(offset);
      this.#changed(room);
    },
    missed: ({ room: name, count, first, last }) => {
      const room = this.rooms.get(name);
      room?.addGap(first - 1, last + 1, count);
      this.#ui.announce(`You missed ${several(count, "message")} in ${name}.`);
      this.#changed(room);
    },
    kicked: ({ room: name, by, reason }) => {
      const room = this.rooms.get(name);
      if (!room) return;
      room.state = "out";
      room.why = `You were put out of ${name}${by ? ` by ${by}` : ""}${reason ? `: ${reason}` : "."}`;
      this.#ui.announce(room.why);
      this.#changed(room);
    },
    notice: ({ room: name, level, text }) => {
      const room = this.rooms.get(name);
      room?.addEvent({ text, tone: level === "warning" ? "warning" : "info" });
      if (room) this.#changed(room);
      else this.#ui.note(text, level);
    },
    history: (message) => this.#requests.answer(message),
    done: (message) => this.#requests.answer(message),
    left: (message) => this.#requests.answer(message),
    error: (message) => this.#error(message),
  };

  #hello() {
    const rooms = {};
    for (const room of this.rooms.values()) {
      if (room !== this.current && room.after) rooms[room.name] = room.after;
    }
    return {
      name: this.me.name || undefined,
      token: this.#token || undefined,
      session: this.#session ? { id: this.#session.id, secret: this.#session.secret } : undefined,
      after: this.current.after,
      rooms: Object.keys(rooms).length ? rooms : undefined,
    };
  }

  #welcome(message) {
    const { name, moderator, session, limits, resumed } = message;
    this.me = { name, moderator };
    this.limits = limits ?? {};
    this.#session = { name, ...session };
    store.session = this.#session;
    if (!this.#token) store.name = name;
    this.#connected += 1;
    this.#away = this.#connection.lostAt ? performance.now() - this.#connection.lostAt : 0;
    this.#outbox.rename(name);
    const others = [...this.rooms.values()].filter((room) => room !== this.current && room.state !== "out");
    for (const room of others) room.state = "joining";
    if (this.current.state !== "out") this.current.state = "joining";
    this.#ui.entered();
    if (!resumed) {
      for (const room of others) this.join(room);
      return;
    }
    // A resumed session's rooms come by themselves; one that it had lost doesn't.
    const serial = this.#connected;
    setTimeout(() => {
      if (serial !== this.#connected) return;
      for (const room of this.rooms.values()) if (room.state === "joining") this.join(room);
    }, RETRY_MS);
  }

  #joined(message) {
    this.#requests.answer(message);
    const room = this.#add(message.room);
    const isBack = !room.isNew && this.#away > 0;
    const order = room.newest + 0.5;
    const { fresh, outcome } = room.join(message);
    for (const offset of message.deleted ?? []) room.delete(offset);
    for (const item of this.#outbox.of(room)) {
      const twin = room.find(item.entry);
      if (!twin) continue;
      this.#outbox.take(item.id);
      room.settle(item.entry, twin);
    }
    const others = fresh.filter((entry) => entry.from !== this.me.name);
    if (isBack) this.#sayBack(room, order, others.length, outcome);
    // What was there before one came the first time is no news.
    if (outcome !== "first") {
      this.#count(room, others);
      this.#ui.arrived(room, others.length);
    }
    this.#flush(room);
    this.#changed(room);
    this.#ui.people(room);
  }

  // A line that says how long the connection was lost, and what that cost.
  #sayBack(room, order, count, outcome) {
    const away = `The connection was lost for ${duration(this.#away)}`;
    const text = {
      whole: `${away}. ${count ? `${several(count, "message")} came meanwhile.` : "Nothing was missed."}`,
      gap: `${away}. Some messages of that time are missing.`,
      epoch: `${away}, and the server has a new history. What stands above this line is from before.`,
    }[outcome];
    const last = room.back;
    if (last && room.entries.findLast((entry) => entry.order <= order) === last) last.text = text;
    else room.back = room.addEvent({ text, tone: outcome === "whole" ? "back" : "warning" }, order);
    if (room === this.current) this.#ui.announce(text);
  }

  #presence(message) {
    const room = this.rooms.get(message.room);
    if (!room) return;
    const isNews = message.version > room.version;
    if (!room.onPresence(message)) {
      if (!room.isCounting) {
        const done = () => { room.isCounting = false; };
        room.isCounting = this.#requests.ask({ type: "members", room: room.name }, done, done);
      }
      return;
    }
    if (isNews && message.count <= PRESENCE_LINES && message.name !== this.me.name) {
      room.addPresence(message, presenceText);
      if (room === this.current) this.#ui.changed(room);
    }
    this.#ui.people(room);
    this.#ui.typing(room);
  }

  #error(error) {
    const item = this.#outbox.get(error.id);
    const room = this.rooms.get(item?.room ?? error.room);
    if (item) {
      if (error.code === "unavailable") {
        setTimeout(() => { item.sentOn = 0; this.#flush(room); }, RETRY_MS);
        return;
      }
      this.#fail(item, error.message);
    } else if (!this.#requests.fail(error)) {
      this.#ui.note(error.message, "warning");
    }
  }

  #fail(item, why) {
    this.#outbox.take(item.id);
    item.entry.state = "failed";
    item.entry.why = why;
    this.#ui.announce(`A message wasn't sent: ${why}`);
    this.#changed(this.rooms.get(item.room));
  }

  #lost(code) {
    this.#requests.lose();
    for (const room of this.rooms.values()) room.typing.clear();
    if (code === 1009) {
      for (const item of this.#outbox.sentOn(this.#connected)) this.#fail(item, "the server found it too long");
    }
    this.#ui.typing(this.current);
  }

  // Sends what waits for a room, once a connection; the same id keeps it from being published twice.
  #flush(room) {
    if (room?.state !== "in") return;
    for (const item of this.#outbox.of(room)) {
      if (item.sentOn === this.#connected) continue;
      if (this.#connection.send(publication(item))) item.sentOn = this.#connected;
    }
  }

  #count(room, entries) {
    if (room === this.current && !document.hidden) return;
    for (const entry of entries) room.addUnread(entry);
    if (entries.length) this.#ui.rooms();
  }

  #add(name) {
    let room = this.rooms.get(name);
    if (!room) {
      room = new Room(name);
      this.rooms.set(name, room);
      store.rooms = [...this.rooms.keys()];
    }
    return room;
  }

  #changed(room) {
    if (!room) return;
    this.#ui.changed(room);
    this.#ui.rooms();
  }
}
