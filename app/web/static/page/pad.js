/** The paper: takes strokes from mouse, finger, pen and keyboard, and shows them, or a picture in their place. */

import { Strokes } from "./strokes.js";

const STEP = 1 / 16; // of the paper's side, for the arrow keys
const SMALL_STEP = 1 / 64;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  #canvas;
  #changed;
  #strokes = new Strokes();
  #bitmap = null;
  #pointer = null; // the one that draws
  #pen = { x: 0.5, y: 0.25, shown: false, down: false }; // the keyboard's
  #frame = 0;

  /** Calls `changed(settled)` whenever there is something else on the paper; settled: no stroke is being drawn. */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#changed = changed;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#leave());
    new ResizeObserver(() => this.#show()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#show());
  }

  get empty() {
    return this.#strokes.empty && !this.#bitmap;
  }

  get undoable() {
    return !this.#bitmap && this.#strokes.undoable;
  }

  picture() {
    return this.#strokes.picture();
  }

  undo() {
    if (!this.undoable) return;
    this.#strokes.undo();
    this.#settle();
  }

  clear() {
    this.#bitmap = null;
    this.#strokes.clear();
    this.#settle();
  }

  /** Shows a picture in place of strokes; null where the browser cannot, though the service may. */
  put(bitmap) {
    this.#strokes.clear();
    this.#bitmap = bitmap ?? document.createElement("canvas");
    this.#show();
  }

  #settle() {
    this.#pointer = null;
    this.#pen.down = false;
    this.#show();
    this.#changed(true);
  }

  #down(event) {
    if (event.button !== 0) return;
    const pen = event.pointerType === "pen";
    if (this.#pointer !== null && !(pen && !this.#pointer.pen)) return; // a second finger, or the hand beside the pen
    if (this.#pointer !== null) this.#strokes.undo();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = { id: event.pointerId, pen };
    this.#pen.shown = this.#pen.down = false;
    this.#bitmap = null;
    this.#strokes.begin(this.#point(event));
    this.#show();
    this.#changed(false);
  }

  #move(event) {
    if (event.pointerId !== this.#pointer?.id) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) this.#strokes.extend(this.#point(each));
    this.#show();
    this.#changed(false);
  }

  #up(event) {
    if (event.pointerId === this.#pointer?.id) this.#settle();
  }

  #key(event) {
    const pen = this.#pen;
    if (event.key in ARROWS && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const [x, y] = ARROWS[event.key].map((sign) => sign * (event.shiftKey ? SMALL_STEP : STEP));
      pen.x = Math.min(Math.max(pen.x + x, 0), 1);
      pen.y = Math.min(Math.max(pen.y + y, 0), 1);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) {
        this.#bitmap = null;
        this.#strokes.begin({ x: pen.x, y: pen.y, weight: 1 });
      }
    } else {
      return;
    }
    event.preventDefault();
    if (pen.down && event.key !== " ") this.#strokes.extend({ x: pen.x, y: pen.y, weight: 1 });
    pen.shown = true;
    this.#show();
    if (pen.down || event.key === " ") this.#changed(!pen.down);
  }

  #leave() {
    const { down } = this.#pen;
    Object.assign(this.#pen, { shown: false, down: false });
    this.#show();
    if (down) this.#changed(true);
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const weight = event.pointerType === "pen" && event.pressure ? 0.7 + 0.6 * event.pressure : 1;
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, weight };
  }

  /** Once a frame, however often it is called. */
  #show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    const canvas = this.#canvas;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, side, side);
    if (this.#bitmap) paintInside(context, this.#bitmap, side);
    else this.#strokes.draw(context, side, style.color);
    canvas.parentElement.classList.toggle("empty", this.empty);
    if (!this.#pen.shown) return;
    context.beginPath();
    context.lineWidth = 2 * devicePixelRatio;
    context.arc(this.#pen.x * side, this.#pen.y * side, side / (this.#pen.down ? 40 : 25), 0, 2 * Math.PI);
    context.strokeStyle = style.outlineColor;
    context.stroke();
  }
}

/** The whole bitmap in the middle of a square. */
export function paintInside(context, bitmap, side) {
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}
