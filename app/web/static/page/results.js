/** Several pictures at once: a list of what each was read as, from which one can be chosen. */

import * as api from "./api.js";
import { paintInside } from "./pad.js";
import { inWords, show } from "./problems.js";
import { percent } from "./reading.js";

const AT_ONCE = 32;
const BYTES_AT_ONCE = 8_000_000; // the service takes 10 MiB in one request unless it is told otherwise
const THUMBNAIL = 128;

export class Results {
  #section;
  #chosen;
  #run = 0;

  /** Calls `chosen(picture, prediction)`. */
  constructor(section, chosen) {
    this.#section = section;
    this.#chosen = chosen;
  }

  clear() {
    this.#run++;
    this.#section.hidden = true;
    this.#list.replaceChildren();
  }

  async read(pictures) {
    const run = ++this.#run;
    const [title, problem] = [this.#section.querySelector("h2"), this.#section.querySelector(".problem")];
    const items = pictures.map((picture) => new Item(picture, (item) => this.#choose(item)));
    this.#list.replaceChildren(...items.map((item) => item.element));
    this.#section.hidden = false;
    show(problem, null);
    let done = 0;
    for (const part of parts(items)) {
      title.textContent = `${pictures.length} pictures, ${done} read so far`;
      try {
        const answers = await readAll(part.map((item) => item.picture));
        if (run !== this.#run) return;
        part.forEach((item, i) => item.show(answers[i]));
      } catch (error) {
        if (run === this.#run) show(problem, error, () => this.read(pictures));
        return;
      }
      done += part.length;
      if (done === part.length) this.#choose(items.find((item) => item.prediction));
    }
    const unread = items.filter((item) => !item.prediction).length;
    title.textContent = `${pictures.length} pictures${unread ? `, ${unread} not read` : ""}`;
  }

  get #list() {
    return this.#section.querySelector("ul");
  }

  #choose(item) {
    if (!item) return;
    for (const button of this.#list.querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
    item.element.querySelector("button").setAttribute("aria-pressed", "true");
    this.#chosen(item.picture, item.prediction);
  }
}

class Item {
  element = document.createElement("li");
  prediction = null;

  constructor(picture, chosen) {
    this.picture = picture;
    this.chosen = chosen;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMBNAIL;
    this.element.append(canvas);
    this.element.title = picture.name;
    this.canvas = canvas;
    this.bitmap = createImageBitmap(picture).catch(() => null);
    this.bitmap.then((bitmap) => this.#paint(bitmap));
  }

  show(answer) {
    const words = document.createElement("span");
    if (answer instanceof api.Problem) {
      this.element.className = "failed";
      words.className = "problem";
      words.textContent = `${this.picture.name}: ${inWords(answer)}`;
      this.element.append(words);
      return;
    }
    this.bitmap.then((bitmap) => bitmap ?? this.#asItWasSeen());
    this.prediction = answer;
    const button = document.createElement("button");
    const digit = document.createElement("strong");
    digit.textContent = answer.digit;
    words.className = "note";
    words.textContent = answer.verdict === "digit" ? percent(answer.confidence) : "not sure";
    button.classList.add(answer.verdict);
    button.setAttribute("aria-label", `${this.picture.name}: ${answer.digit}, ${words.textContent}`);
    button.append(this.canvas, digit, words);
    button.addEventListener("click", () => this.chosen(this));
    this.element.append(button);
  }

  /** For what the browser cannot show, TIFF for one. */
  async #asItWasSeen() {
    this.#paint(await api.tile(this.picture).catch(() => null));
  }

  #paint(bitmap) {
    if (bitmap) paintInside(this.canvas.getContext("2d"), bitmap, THUMBNAIL);
  }
}

/** Halves what is too much for one request: what the service takes is its operator's choice. */
async function readAll(pictures) {
  try {
    return await api.predictBatch(pictures);
  } catch (error) {
    if (error.status !== 413) throw error;
    if (pictures.length === 1) return [error];
    const middle = Math.ceil(pictures.length / 2);
    return [...(await readAll(pictures.slice(0, middle))), ...(await readAll(pictures.slice(middle)))];
  }
}

function* parts(items) {
  let part = [];
  let bytes = 0;
  for (const item of items) {
    if (part.length === AT_ONCE || (part.length && bytes + item.picture.size > BYTES_AT_ONCE)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(item);
    bytes += item.picture.size;
  }
  yield part;
}
