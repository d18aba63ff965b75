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
  context.beginPath();
  context.moveTo(points[0].x * side, points[0].y * side);
  for (let i = 1; i < points.length; i++) {
    const [control, next] = [points[i - 1], points[i]];
    const last = i === points.length - 1;
    const to = last ? next : middle(control, next);
    context.quadraticCurveTo(control.x * side, control.y * side, to.x * side, to.y * side);
    // One path as long as the width stays: where two meet, their edges would be twice as dark.
    if (!last && next.weight === control.weight) continue;
    context.lineWidth = WIDTH * control.weight * side;
    context.stroke();
    context.beginPath();
    context.moveTo(to.x * side, to.y * side);
  }
}

const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
