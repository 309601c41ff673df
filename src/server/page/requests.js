// Requests to the server, and the answers that belong to them by their ids.

export class Requests {
  #send;
  #open = new Map();
  #count = 0;
  #prefix = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // `send` says whether it sent.
  constructor(send) {
    this.#send = send;
  }

  // An id that no other page has.
  id() {
    this.#count += 1;
    return `${this.#prefix}-${this.#count}`;
  }

  // Sends a request. False if there is no connection; else one of the two is called.
  ask(message, done, failed) {
    const id = this.id();
    if (!this.#send({ ...message, id })) return false;
    this.#open.set(id, { done, failed });
    return true;
  }

  answer(message) {
    this.#take(message.id)?.done?.(message);
  }

  // False if nobody waited for that.
  fail(error) {
    const failed = this.#take(error.id)?.failed;
    failed?.(error);
    return Boolean(failed);
  }

  // The connection was lost, and the answers with it.
  lose() {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { failed } of open) failed?.({ message: "The connection was lost." });
  }

  #take(id) {
    const request = this.#open.get(id);
    this.#open.delete(id);
    return request;
  }
}
