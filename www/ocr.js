// Text in a picture: the boxes are drawn on it, the lines stand beside it, and each shows where it comes from.
import { Task, element, sample, timeText } from "./task.js";

const MODELS = { detection: "/models/ocr-det.onnx", direction: "/models/ocr-cls.onnx", recognition: "/models/ocr-rec.onnx" };
/** The longer side of the picture as it is shown, in pixels of the canvas. */
const SHOWN_SIDE = 1400;

/** The tab of OCR: `accept(files)` takes a picture. */
export function ocrTab({ panel, device, announce }) {
  const [canvas, list, result, copy] = ["#ocr-picture", "#ocr-lines", "#ocr-result", "#ocr-copy"].map((id) => panel.querySelector(id));
  const context = canvas.getContext("2d");
  const task = new Task({
    slot: panel.querySelector(".task-state"),
    note: "PP-OCRv4 · 16 MB · loads with the first picture",
    device,
    announce,
    open: ({ loadOcr }, options) => loadOcr(MODELS, options),
  });
  let shown = null; // { bitmap, scale, boxes, lines, chosen }

  function draw() {
    if (!shown) return;
    const { bitmap, scale, boxes, lines, chosen } = shown;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.drawImage(bitmap, 0, 0);
    context.lineJoin = "round";
    const colour = getComputedStyle(panel).getPropertyValue("--mark").trim();
    const outline = (box) => {
      context.beginPath();
      for (const [x, y] of box) context.lineTo(x, y);
      context.closePath();
    };
    for (const box of boxes) {
      outline(box);
      context.strokeStyle = colour;
      context.lineWidth = 2 / scale;
      context.globalAlpha = lines.some((line) => line?.box === box) ? 1 : 0.35;
      context.stroke();
      context.globalAlpha = 0.12;
      context.fillStyle = colour;
      context.fill();
    }
    context.globalAlpha = 1;
    if (!chosen) return;
    outline(chosen.box);
    context.lineWidth = 5 / scale;
    context.stroke();
    context.globalAlpha = 0.25;
    context.fill();
    context.globalAlpha = 1;
  }

  function choose(line) {
    if (!shown || shown.chosen === line) return;
    shown.chosen = line;
    for (const [i, item] of [...list.children].entries()) item.classList.toggle("chosen", shown.lines[i] === line);
    draw();
  }

  function showLines(lines) {
    shown.lines = lines;
    list.replaceChildren(...lines.map((line) => {
      const item = element("li", "line", element("span", "line-text", line.text), element("span", "line-score muted", `${Math.round(line.score * 100)} %`));
      item.dataset.test = "line";
      item.tabIndex = 0;
      for (const event of ["pointerenter", "focus"]) item.addEventListener(event, () => choose(line));
      for (const event of ["pointerleave", "blur"]) item.addEventListener(event, () => choose(null));
      return item;
    }));
    copy.hidden = lines.length === 0;
    draw();
  }

  async function read(blob) {
    await task.run(async (ocr, signal, tell) => {
      const bitmap = await createImageBitmap(blob).catch(() => {
        throw Object.assign(new Error(`“${blob.name ?? "This"}” is no picture that this browser can show.`), { kind: "picture" });
      });
      signal.throwIfAborted();
      const scale = Math.min(1, SHOWN_SIDE / Math.max(bitmap.width, bitmap.height));
      [canvas.width, canvas.height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
      shown?.bitmap.close();
      shown = { bitmap, scale, boxes: [], lines: [], chosen: null };
      result.hidden = false;
      showLines([]);
      tell("Looking for text…");
      const start = performance.now();
      const found = [];
      const lines = await ocr.read(bitmap, {
        signal,
        onBoxes: (boxes) => {
          if (signal.aborted) return;
          shown.boxes = boxes;
          draw();
          tell(`Reading ${boxes.length} ${boxes.length === 1 ? "line" : "lines"}…`);
        },
        onLine: (line) => {
          found.push(line);
          if (!signal.aborted) tell(`Read ${found.length} of ${shown.boxes.length} lines…`);
        },
      });
      shown.boxes = lines.map(({ box }) => box);
      showLines(lines);
      canvas.setAttribute("aria-label", `The picture, with ${lines.length} lines of text marked`);
      return lines.length === 0 ? "No text was found in this picture." : `${lines.length} ${lines.length === 1 ? "line" : "lines"} in ${timeText(performance.now() - start)}`;
    });
  }

  canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
    if (!shown) return;
    const factor = canvas.width / canvas.clientWidth / shown.scale;
    choose(shown.lines.find(({ box }) => inside(box, offsetX * factor, offsetY * factor)) ?? null);
  });
  canvas.addEventListener("pointerleave", () => choose(null));
  panel.querySelector("#ocr-sample").addEventListener("click", async () => read(await sample("receipt.jpg")));
  const input = panel.querySelector("#ocr-file");
  panel.querySelector("#ocr-choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) read(file);
  });
  copy.addEventListener("click", async () => {
    const done = await navigator.clipboard.writeText(shown.lines.map(({ text }) => text).join("\n")).then(() => true, () => false);
    copy.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => { copy.textContent = "Copy the text"; }, 1400);
  });
  addEventListener("paste", ({ clipboardData }) => {
    const picture = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (picture && !panel.hidden) read(picture);
  });
  return { task, accepts: ({ type }) => type.startsWith("image/"), accept: ([file]) => read(file) };
}

/** Whether a point lies in a convex quadrangle. */
function inside(box, x, y) {
  const sides = box.map(([x0, y0], i) => {
    const [x1, y1] = box[(i + 1) % 4];
    return (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0);
  });
  return sides.every((side) => side >= 0) || sides.every((side) => side <= 0);
}
