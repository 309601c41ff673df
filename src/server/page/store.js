// What the page remembers: the name for good, the rest for this tab. A browser may forbid either.

function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(`switchboard.${key}`));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value == null) window[storage].removeItem(`switchboard.${key}`);
    else window[storage].setItem(`switchboard.${key}`, JSON.stringify(value));
  } catch {
    // Then it is forgotten with the page.
  }
}

export const store = {
  get name() { return read("localStorage", "name") ?? ""; },
  set name(name) { write("localStorage", "name", name); },

  // {name, id, secret}: who this tab is, to come back as the same one.
  get session() { return read("sessionStorage", "session"); },
  set session(session) { write("sessionStorage", "session", session); },

  get token() { return read("sessionStorage", "token"); },
  set token(token) { write("sessionStorage", "token", token); },

  // The names of the rooms that are open.
  get rooms() { return read("sessionStorage", "rooms") ?? []; },
  set rooms(rooms) { write("sessionStorage", "rooms", rooms); },

  // What was sent and isn't acknowledged.
  get outbox() { return read("sessionStorage", "outbox") ?? []; },
  set outbox(outbox) { write("sessionStorage", "outbox", outbox); },

  get drafts() { return read("sessionStorage", "drafts") ?? {}; },
  set drafts(drafts) { write("sessionStorage", "drafts", drafts); },
};
