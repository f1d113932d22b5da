// Files of the visitor's own: dropped anywhere on the page, or picked.

/** @param {{ overlay: HTMLElement, input: HTMLInputElement, onFiles: (files: File[]) => void }} options `onFiles` gets at least one file */
export function acceptFiles({ overlay, input, onFiles }) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (visible) => { overlay.hidden = !visible; };
  const offer = (files) => {
    if (files.length > 0) onFiles(files);
  };

  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    show(true);
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) show(false);
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    offer([...event.dataTransfer.files]);
  });
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be picked again
    offer(files);
  });
}
