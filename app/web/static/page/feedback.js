/** "It was a ...": sends the picture with the right digit, and takes it back again. */

import * as api from "./api.js";
import { Declined, withKey } from "./key.js";
import { show } from "./problems.js";

const INVITATION = "Wrong? Choose what it was.";

export class Feedback {
  #said = document.getElementById("feedback-said");
  #problem = document.getElementById("feedback-problem");
  #buttons;
  #picture = null;

  constructor(group) {
    this.#buttons = Array.from({ length: 10 }, (_, digit) => {
      const button = document.createElement("button");
      button.textContent = digit;
      button.setAttribute("aria-label", `It was ${named(digit)}`);
      button.addEventListener("click", () => this.#send(digit));
      return button;
    });
    group.append(...this.#buttons);
    this.about(null);
  }

  /** The picture that was read, null where there is none. */
  about(picture) {
    if (picture !== null && picture === this.#picture) return;
    this.#picture = picture;
    for (const button of this.#buttons) button.disabled = picture === null;
    this.#mark(null);
    this.#said.textContent = INVITATION;
    show(this.#problem, null);
  }

  async #send(digit) {
    const picture = this.#picture;
    await this.#try(async (key) => {
      const stored = await api.correct(picture, digit, key);
      if (picture !== this.#picture) return;
      this.#mark(digit);
      this.#thank(stored);
    }, picture);
  }

  async #takeBack(id) {
    const picture = this.#picture;
    await this.#try(async (key) => {
      await api.takeBack(id, key);
      if (picture !== this.#picture) return;
      this.#mark(null);
      this.#said.textContent = "Taken back.";
    }, picture);
  }

  async #try(call, picture) {
    show(this.#problem, null);
    try {
      await withKey(call);
    } catch (error) {
      if (error instanceof Declined || picture !== this.#picture) return;
      show(this.#problem, error);
    }
  }

  #thank({ id, label, known, replaced }) {
    const back = document.createElement("button");
    back.className = "quiet";
    back.textContent = "Take it back";
    back.addEventListener("click", () => this.#takeBack(id));
    let words = `Thank you: kept as ${named(label)}. `;
    if (known) words = replaced ? `Changed to ${named(label)}. ` : `Known as ${named(label)} already. `;
    this.#said.replaceChildren(words, back);
  }

  #mark(digit) {
    this.#buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === digit)));
  }
}

const named = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;
