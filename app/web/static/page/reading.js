/** Asks what a picture shows, and shows the answer. The newest picture wins: an older answer is dropped. */

import * as api from "./api.js";
import { Bars } from "./bars.js";
import { inWords, show } from "./problems.js";
import { Seen } from "./seen.js";

const LEAST_WAIT = 60; // ms between a change and the request, so that a stroke is not a request a pixel
const MOST_WAIT = 600;

const WORDS = "a zero,a one,a two,a three,a four,a five,a six,a seven,an eight,a nine".split(",");

export class Reading {
  #verdict = document.getElementById("verdict");
  #spoken = document.getElementById("spoken");
  #problem = document.getElementById("reading-problem");
  #bars = new Bars(document.getElementById("bars"));
  #seen = new Seen(document.getElementById("seen"));
  #asking = new AbortController();
  #timer = 0;
  #trip = 0; // how long the last answer took, in ms
  #answered;

  /** Calls `answered(picture, prediction)` for each picture that was read, and with two nulls when there is none. */
  constructor(answered) {
    this.#answered = answered;
    this.clear();
  }

  clear() {
    this.#stop();
    this.#display(null);
    this.#seen.clear();
    show(this.#problem, null);
    this.#answered(null, null);
  }

  /** Reads what `picture` then makes, soon. Waits longer than an answer takes, so that most of them arrive. */
  soon(picture) {
    const wait = Math.min(Math.max(LEAST_WAIT, 1.5 * this.#trip), MOST_WAIT);
    this.#timer ||= setTimeout(() => this.#ask(picture, false), wait);
  }

  /** Reads it now, and says aloud what it was. */
  now(picture) {
    this.#ask(picture, true);
  }

  /** Shows what is known already. */
  put(picture, prediction) {
    const signal = this.#stop();
    this.#settle(picture, prediction, true, "");
    this.#look(picture, prediction, signal);
  }

  /** Ends whatever is under way; what begins now ends by the signal. */
  #stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#asking.abort();
    this.#asking = new AbortController();
    return this.#asking.signal;
  }

  async #ask(make, settled) {
    const signal = this.#stop();
    try {
      const picture = await make();
      signal.throwIfAborted();
      const started = performance.now();
      const prediction = await api.predict(picture, signal);
      this.#trip = performance.now() - started;
      this.#settle(picture, prediction, settled, ` in ${Math.max(1, Math.round(this.#trip))} ms`);
      await this.#look(picture, prediction, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.name === "nothing-drawn" && !settled) return; // the stroke has only begun
      this.#display(null);
      this.#seen.clear();
      this.#answered(null, null);
      show(this.#problem, error, () => this.#ask(make, true));
    }
  }

  #settle(picture, prediction, settled, time) {
    show(this.#problem, null);
    this.#display(prediction, time);
    if (settled) this.#spoken.textContent = `${sentence(prediction)}.`;
    this.#answered(picture, prediction);
  }

  async #look(picture, prediction, signal) {
    try {
      const bitmap = await api.tile(picture, signal);
      if (!signal.aborted) this.#seen.show(bitmap, prediction.steps);
    } catch (error) {
      if (!signal.aborted) this.#seen.fail(inWords(error));
    }
  }

  #display(prediction, time) {
    const [digit, words, by] = this.#verdict.querySelectorAll(".digit, .words, .by");
    this.#verdict.className = `verdict ${prediction?.verdict ?? "none"}`;
    digit.textContent = prediction?.digit ?? "";
    words.textContent = prediction ? certainty(prediction) : "Nothing to read yet";
    by.textContent = prediction ? `read by ${prediction.model}${time}` : "";
    if (!prediction) this.#spoken.textContent = "";
    this.#bars.show(prediction);
  }
}

export function percent(share) {
  if (share >= 0.9995) return "over 99.9\u00a0%";
  if (share < 0.0005) return "under 0.1\u00a0%";
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

const certainty = ({ verdict, confidence }) =>
  verdict === "digit" ? `${percent(confidence)} sure` : `not sure: ${percent(confidence)}`;

const sentence = ({ digit, verdict, confidence }) =>
  verdict === "digit" ? `Read as ${WORDS[digit]}, ${percent(confidence)} sure` : `Not sure. Perhaps ${WORDS[digit]}`;
