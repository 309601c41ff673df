// Texts, names, times and addresses as nodes. Nothing here parses markup: what people wrote stays text.

const LINK = /https?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gi;
const CLOSERS = { ")": "(", "]": "[", "}": "{" };

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const near = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const far = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const people = new Intl.ListFormat(undefined, { type: "conjunction" });
const graphemes = globalThis.Intl.Segmenter && new Intl.Segmenter();

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// A text with its http and https addresses made links.
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const address = trimmed(match[0]);
    if (!isWeb(address)) continue;
    parts.push(text.slice(end, match.index), link(address));
    end = match.index + address.length;
  }
  parts.push(text.slice(end));
  return parts;
}

function link(address) {
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow", dir: "ltr" }, address);
}

function isWeb(address) {
  try {
    return ["http:", "https:"].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}

// Without the punctuation of the sentence around it; a bracket stays if it was opened inside.
function trimmed(address) {
  for (;;) {
    const last = address.at(-1);
    const opener = CLOSERS[last];
    const isUnopened = opener && count(address, last) > count(address, opener);
    if (!isUnopened && !".,;:!?*_~".includes(last)) return address;
    address = address.slice(0, -1);
  }
}

function count(text, character) {
  return text.split(character).length - 1;
}

export function time(ms) {
  const date = new Date(ms);
  return element("time", { dateTime: date.toISOString(), title: exact.format(date) }, clock.format(date));
}

// The number of a local day: equal for two times of one day.
export function day(ms) {
  const date = new Date(ms);
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

export function dayName(ms) {
  const today = new Date();
  const date = new Date(ms);
  if (day(ms) === day(today)) return "Today";
  if (day(ms) === day(new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1))) return "Yesterday";
  return (Math.abs(today - date) < 300 * 86_400_000 ? near : far).format(date);
}

export function duration(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

export function several(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

export function list(names) {
  return people.format(names);
}

export function initial(name) {
  const first = graphemes ? graphemes.segment(name)[Symbol.iterator]().next().value?.segment : [...name][0];
  return (first ?? "?").toLocaleUpperCase();
}

// One of twelve colours that a name always gets.
export function hue(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash % 12;
}

export function avatar(name) {
  const node = element("span", { className: "avatar" }, initial(name));
  node.dataset.hue = hue(name);
  node.ariaHidden = "true";
  return node;
}

// How many characters a server with a limit counts: Unicode scalar values.
export function characters(text) {
  let total = 0;
  for (const _ of text) total += 1;
  return total;
}
