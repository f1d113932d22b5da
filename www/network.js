// An .onnx file of the visitor's: what it wants and gives, a run on random numbers, and where the time went.
import { Task, element, placeOf, timeText } from "./task.js";

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, bfloat16: Uint16Array, int8: Int8Array, int16: Int16Array, int32: Int32Array,
  int64: BigInt64Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
};
const shapeText = (dims) => (dims ? `[${dims.map((dim) => dim ?? "?").join(", ")}]` : "any shape");

/** The tab of networks: `accept(files)` takes an .onnx file. */
export function networkTab({ panel, device, announce }) {
  const [title, ports, sizes, form, results] = ["#network-name", "#network-ports", "#network-sizes", "#network-form", "#network-results"].map((id) => panel.querySelector(id));
  let source = null;
  const task = new Task({
    slot: panel.querySelector(".task-state"),
    note: "Drop an .onnx file anywhere, or choose one",
    device,
    announce,
    open: async (_, options) => {
      const { load } = await import("/dist/index.js");
      const model = await load(source, { ...options, network: source instanceof Blob ? "none" : "allow" });
      if (model.info.kind === "network") return { model, close: () => model.close() };
      await model.close();
      throw Object.assign(new Error("This file is a language model or an encoder: the other tabs use those."), { kind: "unsupported-format" });
    },
  });

  function open(file, name) {
    source = file;
    task.reset();
    for (const part of [form, results]) part.hidden = true;
    title.textContent = name;
    task.run(async ({ model }) => {
      const { inputs, outputs, layers, device: { reason } } = model.info;
      const row = (kind) => ({ name: port, type, dims }) => {
        const cells = [kind, port, type ?? "", shapeText(dims)].map((text) => element("td", "", text));
        cells[1].className = "port-name";
        return element("tr", "", ...cells);
      };
      ports.replaceChildren(...inputs.map(row("in")), ...outputs.map(row("out")));
      sizes.replaceChildren(...freeSizes(inputs).map(({ key, label, value }) => {
        const field = element("input");
        Object.assign(field, { type: "number", min: 1, max: 4096, step: 1, value, name: key });
        return element("label", "field", element("span", "", label), field);
      }));
      form.hidden = false;
      return `${layers} operators, ready ${placeOf(model.info)}: ${reason}`;
    });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = Object.fromEntries([...new FormData(form)].map(([key, text]) => [key, Math.max(1, Number(text))]));
    task.run(async ({ model }, signal, tell) => {
      tell("Running on random numbers…");
      const inputs = Object.fromEntries(model.info.inputs.map((port) => [port.name, randomTensor(port, chosen)]));
      // Where that costs nothing, each run is measured.
      const profiled = model.info.device.kind === "cpu";
      const times = [];
      let outputs;
      for (let run = 0; run < 4; run++) {
        const start = performance.now();
        outputs = await model.run(inputs, { signal, profile: profiled });
        times.push(performance.now() - start);
        if (times[0] > 2000) break;
      }
      const profile = await model.profile();
      if (signal.aborted) return "";
      results.replaceChildren(outputList(outputs), profileTable(profile));
      results.hidden = false;
      const later = times.slice(1).sort((a, b) => a - b)[1];
      return `Ran ${placeOf(model.info)} in ${timeText(times[0])} at first${later === undefined ? "" : `, then in ${timeText(later)}`}`;
    });
  });
  const input = panel.querySelector("#network-file");
  panel.querySelector("#network-choose").addEventListener("click", () => input.click());
  panel.querySelector("#network-sample").addEventListener("click", () => open("/models/ocr-cls.onnx", "ocr-cls.onnx"));
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) open(file, file.name);
  });
  return { task, accepts: ({ name }) => /\.onnx$/i.test(name), accept: ([file]) => open(file, file.name) };
}

/** The sizes that the file leaves open, with likely values: named ones once, nameless ones by input and place. */
function freeSizes(inputs) {
  const found = new Map();
  for (const { name, dims } of inputs) {
    for (const [at, dim] of (dims ?? []).entries()) {
      if (typeof dim === "number") continue;
      const key = dim ?? `${name}:${at}`;
      const guess = at === 0 ? 1 : dims.length === 4 ? (at === 1 ? 3 : 64) : 16;
      if (!found.has(key)) found.set(key, { key, label: dim ?? `${name}, size ${at + 1}`, value: guess });
    }
  }
  return [...found.values()];
}

/** Numbers between -1 and 1, or small whole ones: 0 and 1, so that ids and flags are valid whatever they mean. */
function randomTensor({ name, type = "float32", dims = [] }, sizes) {
  const whole = dims.map((dim, at) => (typeof dim === "number" ? dim : sizes[dim ?? `${name}:${at}`]));
  const data = new (ARRAYS[type] ?? Float32Array)(whole.reduce((n, dim) => n * dim, 1));
  const draw = type.startsWith("float") && type !== "float16" ? () => Math.random() * 2 - 1
    : type === "float16" ? () => 0x3000 + Math.floor(Math.random() * 0x0c00)
    : type === "bfloat16" ? () => 0x3e00 + Math.floor(Math.random() * 0x0180)
    : /64$/.test(type) ? () => BigInt(Math.random() < 0.5 ? 0 : 1) : () => (Math.random() < 0.5 ? 0 : 1);
  for (let i = 0; i < data.length; i++) data[i] = draw();
  return { type, dims: whole, data };
}

function outputList(outputs) {
  const items = Object.entries(outputs).map(([name, value]) => {
    const { type, dims, data } = value ?? {};
    const some = data ? Array.from(data.slice(0, 6), (x) => (typeof x === "number" && !Number.isInteger(x) ? x.toPrecision(4) : String(x))).join(", ") : "no tensor";
    const item = element("li", "output", element("strong", "port-name", name), element("span", "muted", type ? ` ${type} ${shapeText(dims)}` : ""),
      element("div", "values", some + (data?.length > 6 ? ", …" : "")));
    item.dataset.test = "output";
    return item;
  });
  return element("section", "", element("h3", "", "Outputs"), element("ul", "plain", ...items));
}

/** Launches by kernel, those that took longest (or are most) first. */
function profileTable({ nodes }) {
  const kinds = new Map();
  for (const { kernel, ms } of nodes) {
    const kind = kinds.get(kernel) ?? { kernel, n: 0, ms: 0 };
    kinds.set(kernel, { kernel, n: kind.n + 1, ms: kind.ms + (ms ?? 0) });
  }
  const timed = nodes.some(({ ms }) => ms > 0);
  const rows = [...kinds.values()].sort((a, b) => b.ms - a.ms || b.n - a.n).map(({ kernel, n, ms }) =>
    element("tr", "", element("td", "port-name", kernel), element("td", "number", `${n} ×`), ...(timed ? [element("td", "number", ms.toFixed(2) + " ms")] : [])));
  const body = element("tbody", "", ...rows);
  const table = element("table", "table", element("caption", "visually-hidden", "What the last run launched"), body);
  table.dataset.test = "profile";
  return element("section", "", element("h3", "", `Profile: ${nodes.length} launches`), table);
}
