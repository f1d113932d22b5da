// The model of the page: which source, on which device, and the one that is loaded.
//
// `Hearth` holds at most one model. A `change` event follows each change of `status`, a `progress` event each report of
// a load. A newer load supersedes an older one; whoever waits for the model gets the newest.

export const DEFAULT_MODEL = {
  source: "/models/smollm2-135m-q4_1.gguf",
  name: "SmolLM2-135M Instruct",
  note: "98 MB · quick, but weak on facts",
};

/** The package, asked for when the page opens so that it is here when a model is wanted. */
const homefire = import("/dist/index.js").catch((cause) => {
  const error = new Error(`/dist/index.js: ${cause?.message ?? cause}`, { cause });
  return { load: () => Promise.reject(Object.assign(error, { kind: "package" })) };
});

export class Hearth extends EventTarget {
  /** @type {"idle" | "loading" | "ready" | "failed"} */
  status = "idle";
  /** What is loaded, or will be when it is wanted: `{ source, name, note }`. */
  chosen = DEFAULT_MODEL;
  /** @type {"auto" | "webgpu" | "cpu"} */
  device = "auto";
  model = null;
  error = null;
  progress = null;
  #loading = null;
  #abort = null;
  /** Resolves when every model that was let go has freed its memory. */
  #closed = Promise.resolve();

  /** Loads the chosen model; while one loads, or once it is there, gives that one. */
  load() {
    if (!this.#loading) {
      this.#abort = new AbortController();
      this.#loading = this.#start(this.#abort.signal);
      this.#loading.catch(() => {}); // the `change` event tells of a failure
    }
    return this.#loading;
  }

  /** The model, loading it if need be, and staying through a change of file or device; `signal` ends the wait only. */
  async whenReady(signal) {
    const stopped = new Promise((_, reject) => {
      const stop = () => reject(new DOMException("stopped", "AbortError"));
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
    });
    for (;;) {
      const loading = this.load();
      try {
        return await Promise.race([loading, stopped]);
      } catch (error) {
        if (signal.aborted || this.#loading === loading || this.#loading === null) throw error;
      }
    }
  }

  /** Makes `chosen` the model of the page and loads it. */
  choose(chosen) {
    this.chosen = chosen;
    this.#letGo();
    return this.load();
  }

  /** Runs on `device` from now on; a model that is there or under way is loaded again. */
  switchDevice(device) {
    if (device === this.device) return;
    this.device = device;
    if (this.status === "idle" || this.status === "failed") return;
    this.#letGo();
    this.load();
  }

  /** Ends a load. */
  cancel() {
    if (this.status !== "loading") return;
    this.#letGo();
    this.#become("idle");
  }

  /** Lets the model go, so that the next `load` starts anew. */
  #letGo() {
    this.#abort?.abort();
    this.#abort = null;
    this.#loading = null;
    const { model } = this;
    this.model = null;
    if (model) this.#closed = this.#closed.then(() => model.close()).catch(() => {});
  }

  async #start(signal) {
    const { chosen, device } = this;
    this.progress = null;
    this.#become("loading");
    try {
      const { load } = await homefire;
      await this.#closed;
      signal.throwIfAborted();
      const model = await load(chosen.source, {
        device,
        signal,
        network: typeof chosen.source === "string" ? "allow" : "none",
        onProgress: (progress) => {
          if (signal.aborted) return;
          this.progress = progress;
          this.dispatchEvent(new Event("progress"));
        },
      });
      if (signal.aborted) {
        await model.close();
        signal.throwIfAborted();
      }
      this.model = model;
      this.#become("ready");
      return model;
    } catch (error) {
      if (!signal.aborted) {
        this.#loading = null;
        this.#become("failed", error);
      }
      throw error;
    }
  }

  #become(status, error = null) {
    this.status = status;
    this.error = error;
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * A choice made of dropped or picked files: one file, or the shards of one model in their order.
 * @param {File[]} files
 */
export function choiceOfFiles(files) {
  const shards = [...files].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const bytes = shards.reduce((sum, file) => sum + file.size, 0);
  const megabytes = Math.max(1, Math.round(bytes / 1e6));
  return {
    source: shards.length === 1 ? shards[0] : shards,
    name: shards[0].name.replace(/\.gguf$/i, "").replace(/-00001-of-\d{5}$/, ""),
    note: `${megabytes} MB · your own file${shards.length > 1 ? `, ${shards.length} shards` : ""}`,
  };
}
