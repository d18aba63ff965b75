/** What the network saw: the normalised picture, and in words what was done to get there. */

const DONE = {
  oriented: "turned upright, as its camera noted",
  alpha: "laid on a plain ground",
  inverted: "inverted to light ink on dark",
  background: "freed from its background",
  cropped: "cut to the digit",
  scaled: "scaled to 20 pixels",
  centred: "centred by its mass",
};

export class Seen {
  #element;

  constructor(element) {
    this.#element = element;
  }

  show(bitmap, steps) {
    this.#context.drawImage(bitmap, 0, 0);
    const done = steps.map((step) => DONE[step] ?? step);
    this.#say(done.length ? `Your picture, ${list(done)}.` : "Your picture as it is.");
    this.#element.classList.remove("none");
  }

  clear() {
    this.#context.clearRect(0, 0, 28, 28);
    this.#say("28 by 28 pixels, prepared like the digits that it learned from.");
    this.#element.classList.add("none");
  }

  fail(words) {
    this.clear();
    this.#say(words);
  }

  get #context() {
    return this.#element.querySelector("canvas").getContext("2d");
  }

  #say(words) {
    this.#element.querySelector("p").textContent = words;
  }
}

const list = (words) => new Intl.ListFormat("en-GB").format(words);
