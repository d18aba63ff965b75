/** Pictures from elsewhere: dropped anywhere on the page, pasted, or picked. */

/** Calls `given` with the files, at least one. */
export function takePictures({ button, input, given }) {
  const take = (files) => files.length && given([...files]);

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same one can be picked again
  });

  document.addEventListener("paste", (event) => take(event.clipboardData.files));

  const dragging = (on) => document.body.classList.toggle("dragging", on);
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    dragging(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) dragging(false); // out of the window
  });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    dragging(false);
    take(event.dataTransfer.files);
  });
}
