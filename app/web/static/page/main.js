/** Puts the page together. */

import { Feedback } from "./feedback.js";
import { offerToForget } from "./key.js";
import { Pad } from "./pad.js";
import { takePictures } from "./pictures.js";
import { Reading } from "./reading.js";
import { Results } from "./results.js";
import { Retraining } from "./retraining.js";
import { Versions } from "./versions.js";

const find = (id) => document.getElementById(id);

const feedback = new Feedback(find("labels"));
const versions = new Versions(find("versions"));
const retraining = new Retraining(find("retraining"), () => versions.load());

const reading = new Reading((picture, prediction) => {
  feedback.about(picture);
  if (prediction) versions.saw(prediction.model);
});

let onPaper = 0; // counts what was put on the paper, so that a picture which is slow to decode comes too late

const pad = new Pad(find("pad"), (settled) => {
  onPaper++;
  results.clear();
  showTools();
  if (pad.empty) reading.clear();
  else if (settled) reading.now(() => pad.picture());
  else reading.soon(() => pad.picture());
});

const results = new Results(find("results"), (picture, prediction) => {
  reading.put(picture, prediction);
  put(picture);
});

takePictures({
  button: find("pick"),
  input: find("files"),
  given(pictures) {
    results.clear();
    reading.clear();
    if (pictures.length > 1) return results.read(pictures);
    const [picture] = pictures;
    reading.now(() => picture);
    put(picture);
  },
});

async function put(picture) {
  const mine = ++onPaper;
  const bitmap = await createImageBitmap(picture).catch(() => null);
  if (mine !== onPaper) return;
  pad.put(bitmap);
  showTools();
}

function showTools() {
  find("undo").disabled = !pad.undoable;
  find("clear").disabled = pad.empty;
}

find("undo").addEventListener("click", () => pad.undo());
find("clear").addEventListener("click", () => pad.clear());
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, dialog")) return;
  if (event.key === "Escape") pad.clear();
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) {
    event.preventDefault();
    pad.undo();
  }
});

offerToForget(find("forget"));
versions.load();
retraining.load();
