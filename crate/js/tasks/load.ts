// Loads the models of a task, several at a time, and reports how far all of them are together.
import { HomefireError, Model, Runtime, type LoadOptions, type Progress, type Source } from "../index.js";

/** Where a task's models run, and who hears how far loading is. */
export type TaskOptions = Pick<LoadOptions, "device" | "onProgress" | "signal" | "network" | "threads">;

/** A model that is loaded already, or where to load it from. */
export type ModelSource = Model | Source;

const isModel = (source: ModelSource): source is Model => source instanceof Model;

/** The models of a task: those loaded here share one worker and are closed with it. */
export class Models {
  private constructor(
    readonly models: readonly Model[],
    private readonly runtime: Runtime,
  ) {}

  /** Loads what is not loaded yet, all at once. If one fails, the others are closed again. */
  static async load(sources: readonly ModelSource[], { onProgress, ...options }: TaskOptions): Promise<Models> {
    const runtime = new Runtime();
    const wanted = sources.filter((source) => !isModel(source)).length;
    const states: Progress[] = [];
    const report = (index: number, progress: Progress): void => {
      states[index] = progress;
      onProgress?.(together(Object.values(states), wanted));
    };
    const open = (source: ModelSource, index: number): Model | Promise<Model> =>
      isModel(source) ? source : runtime.load(source, { ...options, onProgress: (progress) => report(index, progress) });
    try {
      return new Models(await Promise.all(sources.map(open)), runtime);
    } catch (thrown) {
      await runtime.close();
      throw thrown;
    }
  }

  /** Frees the models that were loaded here. */
  close(): Promise<void> {
    return this.runtime.close();
  }
}

/** How far several loads are; some of the `wanted` ones may not have begun. */
function together(states: readonly Progress[], wanted: number): Progress {
  const phases = states.map(({ phase }) => phase);
  const whole = states.length === wanted;
  const total = (of: (state: Progress) => number): number => states.reduce((sum, state) => sum + of(state), 0);
  const known = (of: (state: Progress) => number | null): number | null =>
    whole ? states.map(of).reduce((sum, n) => (sum === null || n === null ? null : sum + n)) : null;
  return {
    phase: !whole || phases.includes("download") ? "download" : phases.includes("compile") ? "compile" : "ready",
    loadedBytes: total(({ loadedBytes }) => loadedBytes),
    totalBytes: known(({ totalBytes }) => totalBytes),
    seconds: Math.max(...states.map(({ seconds }) => seconds)),
    bytesPerSecond: total(({ bytesPerSecond }) => bytesPerSecond),
    remainingSeconds: whole && states.every((state) => state.remainingSeconds !== null)
      ? Math.max(...states.map((state) => state.remainingSeconds ?? 0)) : null,
  };
}

/** The JSON file of a source. Nothing is fetched but what the caller named. */
export async function json(source: string | URL | Blob | Response | object, what: string, network: "allow" | "none" = "allow"): Promise<unknown> {
  if (network !== "allow" && network !== "none") throw new HomefireError("invalid-input", `network is "${String(network)}"; it may be "allow" or "none".`);
  try {
    if (typeof source === "string" || source instanceof URL) {
      const url = new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href);
      if (network === "none" && !/^(blob|data):$/.test(url.protocol)) throw new Error(`network: "none" forbids fetching it`);
      const response = await fetch(url);
      if (!response.ok) throw new Error(`its server answered ${response.status}`);
      return await response.json();
    }
    if (source instanceof Blob) return JSON.parse(await source.text());
    if (source instanceof Response) return await source.json();
    return source;
  } catch (thrown) {
    throw new HomefireError("fetch", `${what} could not be read: ${thrown instanceof Error ? thrown.message : String(thrown)}.`);
  }
}
