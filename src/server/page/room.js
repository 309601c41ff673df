// What is known of one room: its messages in order, what is missing between them, who is there. It draws nothing.
//
// Entries are sorted by `order`: a message's is its offset, past all that an earlier epoch left. Other entries stand
// half a step behind the message that they follow; what has no offset yet comes last.

const MOST_ENTRIES = 2_000;
// While somebody reads further up nothing is taken from under their eyes, up to this.
const MOST_ENTRIES_EVER = 5_000;

export class Room {
  state = "joining"; // joining, in, or out
  // Why one is out.
  why = "";
  entries = [];
  epoch = null;
  // Up to here everything was received, or its absence shown.
  seen = null;
  hasOlder = false;
  // Nothing was heard of the room before its first `joined`.
  isNew = true;
  members = new Set();
  version = 0;
  count = 0;
  unread = 0;
  // The first unread message.
  mark = null;
  isFollowed = true;
  // Who types, and until when to believe it.
  typing = new Map();
  #arrivals = null;
  #base = 0;
  #offsets = new Map();

  constructor(name) {
    this.name = name;
  }

  // Where to go on from after a reconnect.
  get after() {
    return this.seen === null ? undefined : { offset: this.seen, epoch: this.epoch };
  }

  // The order of the newest message.
  get newest() {
    for (let at = this.entries.length - 1; at >= 0; at -= 1) {
      if (this.entries[at].order !== Infinity) return Math.floor(this.entries[at].order);
    }
    return this.#base;
  }

  // The newest offset held of this epoch, whoever's it is.
  get newestOffset() {
    return Math.max(this.seen ?? 0, this.newest - this.#base);
  }

  // The oldest offset held of this epoch.
  get oldest() {
    return this.entries.find((entry) => entry.kind === "message" && entry.order > this.#base)?.offset;
  }

  get isFull() {
    return this.entries.length >= MOST_ENTRIES_EVER - 500;
  }

  // Takes a `joined` in. Returns the messages that are new here, and how it went on: "whole", "gap", "epoch" or "first".
  join(joined) {
    const from = this.seen;
    let outcome = "whole";
    this.state = "in";
    this.why = "";
    if (this.epoch !== joined.epoch) {
      outcome = this.epoch === null ? "first" : "epoch";
      this.#base = this.entries.length ? this.newest + 1 : 0;
      this.#offsets.clear();
      for (const entry of this.entries) if (entry.kind === "gap") entry.state = "lost";
      this.epoch = joined.epoch;
      this.hasOlder = !joined.complete;
    } else if (!joined.complete && from !== null) {
      // If the history reaches back to what is held, nothing is missing.
      if (!joined.history.some((message) => message.offset <= from) && joined.offset > from) outcome = "gap";
    }
    const fresh = this.merge(joined.history);
    if (outcome === "gap") this.addGap(from, joined.history[0]?.offset ?? joined.offset + 1);
    this.seen = joined.offset;
    this.isNew = false;
    this.setMembers(joined);
    return { fresh, outcome };
  }

  // Puts messages in their places. Returns those that weren't there yet.
  merge(messages) {
    const fresh = [];
    for (const { offset, time, from, text } of messages) {
      if (this.#offsets.has(offset)) continue;
      const entry = { kind: "message", order: this.#base + offset, offset, time, from, text, state: "said" };
      this.#offsets.set(offset, entry);
      fresh.push(entry);
    }
    const last = this.entries.at(-1);
    if (fresh.length > 1 && last && last.order > fresh[0].order) {
      this.entries = this.entries.concat(fresh).sort((a, b) => (a.order === b.order ? 0 : a.order - b.order));
    } else {
      for (const entry of fresh) this.#insert(entry);
    }
    return fresh;
  }

  // A message that came live.
  receive(message) {
    this.seen = Math.max(this.seen ?? 0, message.offset);
    this.typing.delete(message.from);
    return this.merge([message])[0];
  }

  // What was sent and isn't acknowledged yet. `base` is the newest message known when it was sent.
  addPending({ id, text, from, time, base, epoch }) {
    const entry = { kind: "message", order: Infinity, id, text, from, time, base, epoch, state: "pending" };
    this.entries.push(entry);
    return entry;
  }

  // Gives a pending message its place.
  settle(entry, { offset, time }) {
    this.#take(entry);
    entry.state = "delivered";
    const twin = this.#offsets.get(offset);
    if (twin) {
      // It came back in the history before its acknowledgement.
      twin.state = "delivered";
      entry.node?.remove();
      return;
    }
    Object.assign(entry, { offset, time, order: this.#base + offset });
    this.#offsets.set(offset, entry);
    this.#insert(entry);
  }

  // The offset that a pending message has in the history after all, if its acknowledgement was lost.
  find(entry) {
    if (entry.epoch !== this.epoch) return undefined;
    return this.entries.find((other) =>
      other.kind === "message" && other.state === "said" && other.order > this.#base
      && other.offset > entry.base && other.from === entry.from && other.text === entry.text);
  }

  drop(entry) {
    this.#take(entry);
    entry.node?.remove();
  }

  delete(offset) {
    const entry = this.#offsets.get(offset);
    if (!entry) return;
    this.#offsets.delete(offset);
    this.drop(entry);
  }

  // A line of the page's own, behind what is there.
  addEvent(event, order = this.newest + 0.5) {
    const entry = { kind: "event", order, time: Date.now(), ...event };
    this.#insert(entry);
    return entry;
  }

  // A line on who came and went; it grows as long as nothing comes behind it.
  addPresence({ name, event }, say) {
    let arrivals = this.#arrivals;
    if (!arrivals || this.entries.findLast((entry) => entry.order !== Infinity) !== arrivals.entry) {
      arrivals = { changes: new Map(), entry: this.addEvent({ text: "", tone: "presence" }) };
      this.#arrivals = arrivals;
    }
    arrivals.changes.delete(name);
    arrivals.changes.set(name, event);
    arrivals.entry.text = say(arrivals.changes);
  }

  // Messages are missing between two offsets.
  addGap(after, before, count = 0) {
    const entry = { kind: "gap", order: this.#base + before - 0.5, after, before, count, state: "open" };
    this.#insert(entry);
    return entry;
  }

  // Takes in a part of what was missing, the newest of it.
  fillGap(gap, messages, isComplete) {
    const inside = messages.filter((message) => message.offset > gap.after);
    this.merge(inside);
    this.#take(gap);
    if (inside.length < messages.length || (isComplete && inside.length)) {
      gap.node?.remove();
      return;
    }
    gap.state = inside.length ? "open" : "lost";
    gap.count = 0;
    gap.before = inside[0]?.offset ?? gap.before;
    gap.order = this.#base + gap.before - 0.5;
    this.#insert(gap);
  }

  setMembers({ members, version, count }) {
    this.members = new Set(members.map((member) => member.name));
    this.version = version;
    this.count = count;
  }

  // Takes a join or a leave in. False if one before it is missing.
  onPresence({ event, name, version, count }) {
    if (version <= this.version) return true;
    if (version !== this.version + 1) return false;
    this.version = version;
    this.count = count;
    if (event === "join") this.members.add(name);
    else this.members.delete(name);
    if (event === "leave") this.typing.delete(name);
    return true;
  }

  // Counts a message that nobody has looked at.
  addUnread(entry) {
    this.unread += 1;
    this.mark ??= entry;
  }

  // Keeps the page small: the oldest go first.
  trim() {
    const most = this.isFollowed ? MOST_ENTRIES : MOST_ENTRIES_EVER;
    if (this.entries.length <= most) return;
    const gone = this.entries.splice(0, this.entries.length - most);
    for (const entry of gone) {
      this.#offsets.delete(entry.offset);
      entry.node?.remove();
      if (entry.kind === "message" && entry.order > this.#base) this.hasOlder = true;
    }
  }

  #insert(entry) {
    let at = this.entries.length;
    while (at > 0 && this.entries[at - 1].order > entry.order) at -= 1;
    this.entries.splice(at, 0, entry);
  }

  #take(entry) {
    const at = this.entries.lastIndexOf(entry);
    if (at >= 0) this.entries.splice(at, 1);
  }
}
