// The models of one tab: they load when the tab is first used, say how far they are, and go when the device changes.
import { isCancelled, taskErrorElement } from "./errors.js";
import { bytesText, leftText } from "./meter.js";

/** The package's tasks, asked for when the page opens so that they are here when they are wanted. */
const tasks = import("/dist/tasks.js").catch((cause) => {
  const error = Object.assign(new Error(`/dist/tasks.js: ${cause?.message ?? cause}`, { cause }), { kind: "package" });
  return new Proxy({}, { get: (_, name) => (name === "then" ? undefined : () => Promise.reject(error)) });
});

/** A file of the demo's own, from beside this page. */
export async function sample(name) {
  const response = await fetch(new URL(`./samples/${name}`, import.meta.url));
  if (!response.ok) throw Object.assign(new Error(`samples/${name} answered ${response.status}.`), { kind: "fetch" });
  return new File([await response.blob()], name, { type: response.headers.get("content-type") ?? "" });
}

/**
 * One tab's models and work. `data-state` of its slot is "idle", "loading", "working", "ready" or "failed"; `data-device`
 * is where the models run.
 */
export class Task {
  #slot;
  #note;
  #open;
  #device;
  #announce;
  #loading = null;
  #abort = null;
  #again = () => {};

  /**
   * @param {{ slot: HTMLElement, note: string, open: (tasks: object, options: object) => Promise<object>,
   *   device: () => string, announce: (text: string) => void }} options `open` loads the models; `note` is shown before
   */
  constructor({ slot, note, open, device, announce }) {
    this.#slot = slot;
    this.#note = note;
    this.#open = open;
    this.#device = device;
    this.#announce = announce;
    slot.addEventListener("step", (event) => {
      event.stopPropagation();
      if (event.detail === "reload") location.reload();
      else this.#again();
    });
    this.#show("idle", note);
  }

  /**
   * Does `work` with the loaded models; what was under way is cancelled. A failure is shown in the slot, with a button to
   * try again. `work` gets the models, a signal, and a function that shows what is being done; what it returns is shown.
   */
  async run(work) {
    this.stop();
    const { signal } = (this.#abort = new AbortController());
    this.#again = () => this.run(work);
    try {
      const models = await this.#ready(signal);
      signal.throwIfAborted();
      this.#show("working", "Working…");
      const told = await work(models, signal, (text) => signal.aborted || this.#show("working", text));
      if (signal.aborted) return;
      this.#show("ready", told);
      this.#announce(told);
    } catch (error) {
      if (signal.aborted || isCancelled(error)) return;
      this.#show("failed", "");
      this.#slot.append(taskErrorElement(error));
    }
  }

  /** Cancels what is under way; loading goes on. */
  stop() {
    this.#abort?.abort();
  }

  /** Lets the models go: they load again, on the device chosen then, when they are wanted. */
  reset() {
    this.stop();
    const loading = this.#loading;
    this.#loading = null;
    loading?.then((models) => models.close()).catch(() => {});
    this.#show("idle", this.#note);
  }

  #ready(signal) {
    if (!this.#loading) {
      this.#show("loading", "Starting");
      this.#announce("Loading the model.");
      const loading = tasks.then((all) => this.#open(all, {
        device: this.#device(),
        onProgress: (progress) => this.#loading === loading && this.#progress(progress),
      }));
      this.#loading = loading;
      loading.catch(() => { if (this.#loading === loading) this.#loading = null; });
    }
    const stopped = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
    return Promise.race([this.#loading, stopped]);
  }

  #progress({ phase, loadedBytes, totalBytes, remainingSeconds }) {
    if (this.#slot.dataset.state !== "loading") return;
    const done = phase !== "download" || (totalBytes > 0 && loadedBytes >= totalBytes);
    this.#show("loading", done ? "Warming up" : `Loading ${bytesText(loadedBytes, totalBytes)} ${leftText(remainingSeconds)}`.trim(),
      done || !totalBytes ? null : loadedBytes / totalBytes);
  }

  #show(state, text, share = null) {
    this.#slot.dataset.state = state;
    const line = document.createElement("p");
    line.textContent = text;
    const parts = text ? [line] : [];
    if (state === "loading" || state === "working") {
      const bar = this.#slot.querySelector("progress") ?? document.createElement("progress");
      bar.max = 1;
      bar.setAttribute("aria-label", state === "loading" ? "Loading the model" : "Working");
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
      parts.push(bar);
    }
    this.#slot.replaceChildren(...parts);
  }
}

/** "on the CPU" or "on the GPU", of a loaded model. */
export const placeOf = (info) => (info?.device.kind === "webgpu" ? "on the GPU" : "on the CPU");

/** "12 ms", "1.4 s". */
export const timeText = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** An element with a class, and text or children in it. */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A bar from 0 to 1 with its number, read as such. */
export function scoreBar(score, label) {
  const filled = element("i");
  filled.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  const bar = element("div", "score", filled);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "1");
  bar.setAttribute("aria-valuenow", score.toFixed(3));
  bar.setAttribute("aria-label", label);
  return bar;
}
