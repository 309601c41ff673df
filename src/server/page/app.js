// Puts the parts together: the door where one gives a name, the room, the state of the connection, the title.

import { Chat, ROOM_NAME } from "./chat.js";
import { Composer } from "./composer.js";
import { Log } from "./log.js";
import { Panels } from "./panels.js";
import { store } from "./store.js";
import { avatar, element, list } from "./text.js";

const NOTE_MS = 8_000;
// A connection that is back sooner is no trouble.
const TROUBLE_AFTER_MS = 500;
const $ = (id) => document.getElementById(id);

const WRONG_ROOM = "A room's name has 1 to 64 letters (A–Z, a–z), digits, dots, hyphens or underscores.";

let isIn = false;
let final = null;
let shown = "";

const chat = new Chat({
  status: drawState,
  entered,
  refused,
  ended,
  switched,
  changed(room) {
    if (room !== chat.current) return;
    log.changed();
    drawOut();
  },
  arrived(room, count) {
    if (room === chat.current) log.arrived(count);
  },
  rooms: drawRooms,
  people(room) {
    if (room && room === chat.current) panels.drawPeople(room, chat.me);
  },
  typing(room) {
    if (room === chat.current) drawTyping();
  },
  note,
  announce,
});

const log = new Log({
  remove: (entry) => chat.remove(entry),
  retry: (entry) => chat.retry(entry),
  discard: (entry) => chat.discard(entry),
  fill: (gap) => chat.fill(gap),
  older: () => chat.older(),
  seen: (room) => document.hidden || chat.see(room),
});

const composer = new Composer({
  send(text) {
    const wrong = chat.publish(text);
    if (!wrong) log.follow();
    return wrong;
  },
  type: (isTyping) => chat.type(isTyping),
  up: () => log.focus(),
});

const panels = new Panels({
  go,
  leave(name) {
    chat.leave(chat.rooms.get(name));
  },
  check: (name) => (ROOM_NAME.test(name) ? null : WRONG_ROOM),
  put: (name, how) => chat.put(name, how),
});

// The room that the address names.
function roomOfPath() {
  const match = /^\/rooms\/([^/]+)\/?$/.exec(location.pathname);
  return match && ROOM_NAME.test(match[1]) ? match[1] : "lobby";
}

function go(name) {
  if (name === chat.current.name) return;
  chat.go(name);
  history.pushState(null, "", `/rooms/${name}`);
  composer.focus();
}

// The door.

function showDoor(wrong = "", field = "name") {
  isIn = false;
  $("app").hidden = true;
  $("door").hidden = false;
  document.title = "Switchboard";
  $("come-in").disabled = false;
  $("come-in").textContent = "Come in";
  sayAtDoor(wrong);
  for (const id of ["name", "door-room", "token"]) $(id).ariaInvalid = String(Boolean(wrong) && id === field);
  $(field).focus();
  $(field).select();
}

function sayAtDoor(text) {
  $("door-error").hidden = text === "";
  $("door-error").textContent = text;
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  const room = $("door-room").value.trim() || "lobby";
  const token = $("token").value.trim();
  if (!name && !token) return showDoor("Please give a name: the others see it beside what you say.");
  if (!ROOM_NAME.test(room)) return showDoor(WRONG_ROOM, "door-room");
  if (room !== roomOfPath()) history.pushState(null, "", `/rooms/${room}`);
  store.token = token || null;
  $("come-in").disabled = true;
  $("come-in").textContent = "Coming in…";
  sayAtDoor("");
  return chat.enter({ name, room, token });
});

function refused(error) {
  const isToken = error.code === "unauthorized";
  if (isToken) $("token-row").hidden = false;
  const advice = error.code === "name_taken" ? " Please choose another one." : "";
  const text = sentence(error.message);
  chat.refuse();
  $("name").value = chat.me.name || $("name").value;
  showDoor(text + advice, isToken ? "token" : error.code.startsWith("room") ? "door-room" : "name");
}

function sentence(text) {
  const whole = text.charAt(0).toLocaleUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function entered() {
  final = null;
  const isFresh = !isIn;
  isIn = true;
  $("door").hidden = true;
  $("app").hidden = false;
  $("me-name").textContent = chat.me.name;
  $("me-avatar").replaceChildren(avatar(chat.me.name));
  log.me = chat.me;
  switched();
  if (isFresh) composer.focus();
}

$("exit").addEventListener("click", () => {
  chat.exit();
  composer.reset();
  $("name").value = store.name;
  showDoor();
});

// The room.

function switched() {
  const room = chat.current;
  $("title").textContent = room.name;
  $("log").ariaLabel = `Messages in ${room.name}`;
  composer.show(room, chat.limits.text);
  if (shown !== `${chat.me.name}/${room.name}`) {
    shown = `${chat.me.name}/${room.name}`;
    log.show(room);
  }
  panels.drawPeople(room, chat.me);
  drawOut();
  drawTyping();
  chat.see(room);
  drawRooms();
}

function drawRooms() {
  panels.drawRooms(chat.rooms, chat.current);
  drawTitle();
}

function drawTitle() {
  if (!isIn) return;
  const { unread } = chat;
  document.title = `${unread ? `(${unread > 999 ? "999+" : unread}) ` : ""}${chat.current.name} · Switchboard`;
}

function drawOut() {
  const room = chat.current;
  $("out").hidden = room.state !== "out";
  $("out-text").textContent = room.why;
  composer.show(room, chat.limits.text);
}

$("again").addEventListener("click", () => chat.join(chat.current));

let typingTimer;
function drawTyping() {
  const { typing } = chat.current;
  const now = performance.now();
  for (const [name, until] of typing) if (until <= now) typing.delete(name);
  const names = [...typing.keys()];
  $("typing").hidden = names.length === 0;
  $("typing").textContent = names.length > 3 ? "Several people are typing…" : `${list(names)} ${names.length === 1 ? "is" : "are"} typing…`;
  clearTimeout(typingTimer);
  if (names.length) typingTimer = setTimeout(drawTyping, Math.min(...typing.values()) - now + 50);
}

// The connection.

let stateTimer;
let spoken = "";
function drawState() {
  const { phase, until, isOffline, rtt, lostAt } = chat.connection;
  clearTimeout(stateTimer);
  const now = performance.now();
  const seconds = Math.max(1, Math.ceil((until - now) / 1000));
  const what = final ? "ended" : isOffline ? "offline" : phase;
  const isLong = !isIn || final || now - lostAt > TROUBLE_AFTER_MS;
  $("state").dataset.phase = what;
  $("state-text").textContent = {
    idle: "", ended: "Disconnected", offline: "Offline", connecting: "Connecting…", waiting: `Reconnecting in ${seconds} s`,
    live: rtt === null ? "Live" : `Live · ${rtt < 10 ? rtt.toFixed(1) : Math.round(rtt)} ms`,
  }[what];
  $("state").title = what === "live" ? "The time there and back of the last ping" : "";
  const trouble = {
    ended: final,
    offline: "You are offline. What you write is sent when you are back.",
    connecting: "The connection was lost. Trying again…",
    waiting: `The connection was lost. Trying again in ${seconds} s.`,
  }[what] ?? "";
  $("trouble").hidden = !trouble || !isLong;
  $("trouble-text").textContent = trouble;
  $("now").textContent = final ? "Connect again" : "Try now";
  $("now").hidden = what === "connecting";
  if (!isIn && phase === "waiting") sayAtDoor(`The server can't be reached. Trying again in ${seconds} s.`);
  // Spoken once, not every second.
  const news = { ended: final, offline: "You are offline.", waiting: "The connection was lost.", live: "Connected." }[what] ?? spoken;
  if (news !== spoken && isLong) {
    if (isIn && spoken) announce(news);
    spoken = news;
  }
  if (phase === "waiting" || !isLong) stateTimer = setTimeout(drawState, 250);
}

$("now").addEventListener("click", () => {
  final = null;
  chat.connection.open();
});

function ended(code, reason) {
  if (code === 4401) {
    $("token-row").hidden = false;
    chat.refuse();
    showDoor("Your access has run out. Please sign in again.", "token");
    return;
  }
  final = {
    1008: `The server closed the connection${reason ? `: ${reason}` : ", because too much was sent"}.`,
    4403: `An administrator closed the connection${reason ? `: ${reason}` : "."}`,
    4409: "You went on in another tab, so this one is disconnected.",
  }[code] ?? `The server closed the connection (${code}${reason ? `: ${reason}` : ""}).`;
  if (isIn) drawState();
  else showDoor(final);
}

// What is worth a word.

function note(text, level = "info") {
  const close = element("button", { type: "button", className: "icon" }, "✕");
  close.ariaLabel = "Dismiss";
  const node = element("div", { className: `note ${level}` }, element("p", { dir: "auto" }, sentence(text)), close);
  const remove = () => node.remove();
  close.addEventListener("click", remove);
  if (level !== "warning") setTimeout(remove, NOTE_MS);
  $("notes").append(node);
  while ($("notes").children.length > 3) $("notes").firstElementChild.remove();
}

function announce(text) {
  $("announce").textContent = text;
}

window.addEventListener("popstate", () => isIn && chat.go(roomOfPath()));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && isIn && chat.current.isFollowed) chat.see(chat.current);
});

// A token may come with the address, behind the #, which no server sees.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  store.token = given;
  history.replaceState(null, "", location.pathname);
}
const token = store.token;
const session = store.session;
$("name").value = session?.name ?? store.name;
$("door-room").value = roomOfPath();
if (session || token) {
  chat.enter({ name: session?.name ?? store.name, room: roomOfPath(), token });
  // A reload goes on where it was; whether it may is seen soon.
  if (session) entered();
  else showDoor();
} else {
  showDoor();
}
