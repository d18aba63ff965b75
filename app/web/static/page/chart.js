/** A small line chart of one figure over the progress of a job. */

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [240, 72, 4];

export class Chart {
  element = document.createElement("figure");
  #points = [];
  #title;
  #format;

  constructor(title, format) {
    this.#title = title;
    this.#format = format;
    this.element.innerHTML = '<figcaption><span></span><strong></strong></figcaption><p class="note"></p>';
    this.element.querySelector("span").textContent = title;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.append(document.createElementNS(SVG, "path"));
    this.element.querySelector("figcaption").after(svg);
    this.#draw();
  }

  clear() {
    this.#points = [];
    this.#draw();
  }

  /** progress: 0 to 1. */
  add(progress, value) {
    this.#points.push({ progress, value });
    this.#draw();
  }

  #draw() {
    const values = this.#points.map(({ value }) => value);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const height = (value) => (most > least ? (value - least) / (most - least) : 0.5);
    const places = this.#points.map(
      ({ progress, value }) =>
        `${(progress * WIDTH).toFixed(1)} ${(HEIGHT - MARGIN - height(value) * (HEIGHT - 2 * MARGIN)).toFixed(1)}`,
    );
    const line = places.length === 1 ? `M0 ${places[0].split(" ")[1]}L${places[0]}` : `M${places.join("L")}`;
    this.element.querySelector("path").setAttribute("d", places.length ? line : "");
    const now = values.length ? this.#format(values.at(-1)) : "";
    this.element.querySelector("strong").textContent = now;
    const range = most > least ? `${this.#format(least)} to ${this.#format(most)}` : "";
    this.element.querySelector(".note").textContent = range;
    this.element.querySelector("svg").setAttribute("aria-label", `${this.#title}: ${now ? `${now}; ${range}` : "nothing yet"}`);
  }
}
