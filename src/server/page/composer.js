// The field where one writes: sending, its height, drafts, and telling others that somebody types.

import { store } from "./store.js";
import { characters } from "./text.js";

const TYPING_EVERY_MS = 3_000;
const grows = CSS.supports("field-sizing", "content");

// Calls `handlers`: send(text) → what is wrong, type(isTyping), up().
export class Composer {
  #form = document.getElementById("composer");
  #field = document.getElementById("text");
  #note = document.getElementById("composer-note");
  #handlers;
  #drafts = store.drafts;
  #room = "";
  #most = null;
  #typed = -Infinity;

  constructor(handlers) {
    this.#handlers = handlers;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener("keydown", (event) => this.#onKey(event));
    this.#field.addEventListener("input", () => this.#onInput());
    // A press on the button mustn't close a phone's keyboard.
    document.getElementById("send").addEventListener("pointerdown", (event) => event.preventDefault());
    // Who starts to type while nothing that takes keys is focused means this field.
    document.addEventListener("keydown", (event) => {
      const isText = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== " ";
      if (isText && !this.#form.hidden && document.activeElement?.matches("body, #log, #messages li")) this.#field.focus();
    });
  }

  // Changes to a room, with what was begun there.
  show(room, mostCharacters) {
    this.#most = mostCharacters;
    this.#form.hidden = room.state === "out";
    if (this.#room === room.name) return;
    this.#room = room.name;
    this.#field.value = this.#drafts[room.name] ?? "";
    this.#field.placeholder = `Message ${room.name}`;
    this.#say("");
    this.#fit();
  }

  // On a touch screen that would open the keyboard.
  focus() {
    if (!matchMedia("(pointer: coarse)").matches) this.#field.focus();
  }

  reset() {
    this.#drafts = {};
    this.#room = "";
  }

  #onKey(event) {
    // While an input method is composing, Enter takes its suggestion (229 is Safari's way to say so).
    const isComposing = event.isComposing || event.keyCode === 229;
    if (event.key === "Enter" && !event.shiftKey && !isComposing) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "ArrowUp" && this.#field.value === "") {
      event.preventDefault();
      this.#handlers.up();
    }
  }

  #onInput() {
    const { value } = this.#field;
    this.#keep(value);
    this.#fit();
    const left = this.#most ? this.#most - characters(value) : Infinity;
    this.#say(left < 0 ? `${-left} too many characters` : left <= 100 ? `${left} characters left` : "", left < 0);
    const now = performance.now();
    if (value.trim() === "") this.#stopTyping();
    else if (now - this.#typed > TYPING_EVERY_MS) {
      this.#typed = now;
      this.#handlers.type(true);
    }
  }

  #send() {
    const text = this.#field.value.trim();
    if (text === "") return;
    const wrong = this.#handlers.send(text);
    if (wrong) {
      this.#say(wrong, true);
      return;
    }
    this.#field.value = "";
    this.#keep("");
    this.#typed = -Infinity;
    this.#say("");
    this.#fit();
  }

  #stopTyping() {
    if (this.#typed > -Infinity) this.#handlers.type(false);
    this.#typed = -Infinity;
  }

  #keep(text) {
    if (text) this.#drafts[this.#room] = text;
    else delete this.#drafts[this.#room];
    store.drafts = this.#drafts;
  }

  #say(text, isWrong = false) {
    this.#note.hidden = text === "";
    this.#note.textContent = text;
    this.#note.classList.toggle("error", isWrong);
    this.#field.ariaInvalid = String(isWrong);
  }

  #fit() {
    if (grows) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
