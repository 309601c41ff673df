// One WebSocket to the server that comes back by itself: opening, heartbeat, backoff. It knows no rooms.

const SUBPROTOCOL = "switchboard.v1.json";
const OPENING_MS = 10_000;
const PING_EVERY_MS = 10_000;
const PONG_WITHIN_MS = 10_000;
// When there is reason to doubt: the network changed, or the page was asleep.
const CHECK_WITHIN_MS = 3_000;
const BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 30_000;
const LONGEST_ADVICE_MS = 300_000;
// How long a connection that seems dead is kept: closed at once it would end the session that the next one takes over.
const ABANDONED_MS = 60_000;
// Whoever was live for so long starts the backoff afresh.
const STABLE_MS = 5_000;

// Close codes after which trying again would only do harm.
const FINAL = new Set([1003, 1008, 4401, 4403, 4409]);

// The wait before another try: what the server asked for, or a full-jitter backoff.
export function delay(attempt, code, reason, random = Math.random) {
  const advice = code === 1001 && /^retry-after=(\d+(?:\.\d+)?)$/.exec(reason);
  if (advice) {
    const asked = Math.min(Number(advice[1]) * 1000, LONGEST_ADVICE_MS);
    // Everybody got the same advice: spread out behind it.
    return asked + random() * Math.max(asked / 4, 250);
  }
  return random() * Math.min(BACKOFF_MS * 2 ** attempt, LONGEST_BACKOFF_MS);
}

// Calls `handlers`: url(), hello(), welcome(message), message(message), refused(error), lost(code),
// ended(code, reason), changed().
export class Connection {
  phase = "idle"; // connecting, live, waiting, or idle
  // When the next try comes, in performance.now()'s milliseconds.
  until = 0;
  // Since when there has been no connection.
  lostAt = 0;
  rtt = null;
  #handlers;
  #socket = null;
  #attempt = 0;
  #isAdvised = false;
  #isGreeted = false;
  #liveSince = 0;
  #heard = 0;
  #pings = 0;
  #pinged = null;
  #retry;
  #opening;
  #beat;
  #verdict;

  constructor(handlers) {
    this.#handlers = handlers;
    window.addEventListener("online", () => { this.#nudge(); this.#handlers.changed(); });
    window.addEventListener("offline", () => { this.#nudge(); this.#handlers.changed(); });
    window.addEventListener("pageshow", (event) => event.persisted && this.#nudge());
    document.addEventListener("visibilitychange", () => document.hidden || this.#nudge());
  }

  get isOffline() {
    return navigator.onLine === false && this.phase !== "live";
  }

  // Connects, or tries again at once.
  open() {
    this.#abandon();
    this.#isGreeted = false;
    this.#set("connecting");
    const socket = new WebSocket(this.#handlers.url(), SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", ...this.#handlers.hello() }));
    socket.onmessage = (event) => this.#onMessage(event.data);
    socket.onclose = (event) => this.#onClose(event.code, event.reason);
    this.#opening = setTimeout(() => this.#onClose(1006, ""), OPENING_MS);
  }

  // Ends it for good.
  close() {
    this.#detach()?.close(1000);
    this.#set("idle");
  }

  // Whether it was sent: nothing is while there is no connection.
  send(message) {
    if (this.phase !== "live" || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  // Something happened that makes a try worth while, or the connection doubtful.
  #nudge() {
    if (this.phase === "waiting" && !this.#isAdvised) {
      this.#attempt = 0;
      this.open();
    } else if (this.phase === "live") {
      this.#ping(CHECK_WITHIN_MS);
    }
  }

  #onMessage(data) {
    this.#heard = performance.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.type === "pong" && message.id === this.#pinged?.id) {
      this.rtt = this.#heard - this.#pinged.at;
      this.#pinged = null;
      this.#handlers.changed();
    } else if (message.type === "welcome") {
      clearTimeout(this.#opening);
      this.#isGreeted = true;
      this.#liveSince = this.#heard;
      this.#set("live");
      this.#handlers.welcome(message);
      this.#ping(PONG_WITHIN_MS);
    } else if (message.type === "error" && !this.#isGreeted) {
      this.close();
      this.#handlers.refused(message);
    } else {
      this.#handlers.message(message);
    }
  }

  #onClose(code, reason) {
    const wasLive = this.phase === "live";
    this.#abandon();
    if (wasLive) {
      this.lostAt = performance.now();
      if (this.lostAt - this.#liveSince > STABLE_MS) this.#attempt = 0;
    }
    this.#handlers.lost(code);
    if (FINAL.has(code)) {
      this.#set("idle");
      this.#handlers.ended(code, reason);
      return;
    }
    const wait = delay(this.#attempt, code, reason);
    this.#attempt += 1;
    this.#isAdvised = code === 1001 && reason.startsWith("retry-after=");
    this.until = performance.now() + wait;
    this.#retry = setTimeout(() => this.open(), wait);
    this.#set("waiting");
  }

  #ping(within) {
    clearTimeout(this.#beat);
    clearTimeout(this.#verdict);
    const at = performance.now();
    this.#pings += 1;
    this.#pinged = { id: `ping-${this.#pings}`, at };
    if (!this.send({ type: "ping", id: this.#pinged.id })) return;
    // Anything that comes is a sign of life: behind a flood the pong may be late.
    this.#verdict = setTimeout(() => this.#heard < at && this.#onClose(1006, ""), within);
    this.#beat = setTimeout(() => this.#ping(PONG_WITHIN_MS), PING_EVERY_MS);
  }

  // Lets go of the socket, which may be half dead and mustn't be heard any more.
  #detach() {
    for (const timer of [this.#retry, this.#opening, this.#beat, this.#verdict]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#pinged = null;
    this.rtt = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  #abandon() {
    const socket = this.#detach();
    if (socket) setTimeout(() => socket.close(1000), ABANDONED_MS);
  }

  #set(phase) {
    this.phase = phase;
    this.#handlers.changed();
  }
}
