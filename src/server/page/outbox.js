// What was said and isn't acknowledged: sent once a connection under one id, kept over a reload.

import { store } from "./store.js";

// The server remembers the newest 256 ids of a session.
const MOST = 200;
const SAVE_MS = 100;

export class Outbox {
  #items = [];
  #saving;

  constructor() {
    window.addEventListener("pagehide", () => this.#save());
  }

  get isFull() {
    return this.#items.length >= MOST;
  }

  of(room) {
    return this.#items.filter((item) => item.room === room.name);
  }

  // Those that went out on a connection.
  sentOn(serial) {
    return this.#items.filter((item) => item.sentOn === serial);
  }

  get(id) {
    return this.#items.find((item) => item.id === id);
  }

  add(room, entry) {
    const { id, text, from, time, base, epoch } = entry;
    this.#items.push({ id, room: room.name, text, from, time, base, epoch, entry });
    this.#saveSoon();
  }

  take(id) {
    const item = this.get(id);
    if (item) this.#keep((other) => other !== item);
    return item;
  }

  drop(room) {
    this.#keep((item) => item.room !== room.name);
  }

  clear() {
    this.#keep(() => false);
  }

  // They go on under another name.
  rename(name) {
    for (const item of this.#items) item.from = item.entry.from = name;
  }

  // What this tab still had to say before it was reloaded.
  restore(name, rooms) {
    for (const item of store.outbox) {
      const room = rooms.get(item.room);
      if (item.from === name && room) this.#items.push({ ...item, entry: room.addPending(item) });
    }
  }

  #keep(isKept) {
    this.#items = this.#items.filter(isKept);
    this.#saveSoon();
  }

  #saveSoon() {
    this.#saving ??= setTimeout(() => this.#save(), SAVE_MS);
  }

  #save() {
    if (this.#saving === undefined) return;
    clearTimeout(this.#saving);
    this.#saving = undefined;
    store.outbox = this.#items.map(({ entry, sentOn, ...item }) => item);
  }
}

export function publication({ id, room, text }) {
  return { type: "publish", room, id, text };
}
