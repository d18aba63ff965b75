/** What was drawn: strokes of points in the unit square. The newest can be taken back, and so can a clearing. */

const WIDTH = 0.065; // of the paper's side

export class Strokes {
  #strokes = [];
  #cleared = [];

  get empty() {
    return this.#strokes.length === 0;
  }

  get undoable() {
    return !this.empty || this.#cleared.length > 0;
  }

  begin(point) {
    this.#strokes.push([point]);
  }

  extend(point) {
    this.#strokes.at(-1).push(point);
  }

  undo() {
    if (!this.empty) this.#strokes.pop();
    else [this.#strokes, this.#cleared] = [this.#cleared, []];
  }

  clear() {
    if (!this.empty) [this.#strokes, this.#cleared] = [[], this.#strokes];
  }

  /** Draws them on a square of that side, in the colour. */
  draw(context, side, colour) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineCap = context.lineJoin = "round";
    for (const points of this.#strokes) drawStroke(context, side, points);
  }

  /** A picture to send: black on white, whatever the page looks like. */
  picture(side = 280) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    this.draw(context, side, "#000");
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

/** Quadratic curves through the middles between the points, which are their control points: no corners are seen. */
function drawStroke(context, side, points) {
  if (points.length === 1) {
    const [{ x, y, weight }] = points;
    context.beginPath();
    context.arc(x * side, y * side, (WIDTH * weight * side) / 2, 0, 2 * Math.PI);
    context.fill();
  }
  let from = points[0];
  for (let i = 1; i < points.length; i++) {
    const control = points[i - 1];
    const to = i === points.length - 1 ? points[i] : middle(control, points[i]);
    context.beginPath();
    context.lineWidth = WIDTH * control.weight * side;
    context.moveTo(from.x * side, from.y * side);
    context.quadraticCurveTo(control.x * side, control.y * side, to.x * side, to.y * side);
    context.stroke();
    from = to;
  }
}

const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
