// Loads the models of a task, several at a time, and reports how far all of them are together.
import { HomefireError, load, type LoadOptions, type Model, type Progress, type Source } from "../index.js";

/** Where a task's models run, and who hears how far loading is. */
export type TaskOptions = Pick<LoadOptions, "device" | "onProgress" | "signal" | "network">;

/** A model that is loaded already, or where to load it from. */
export type ModelSource = Model | Source;

const isModel = (source: ModelSource): source is Model => "info" in (source as Model) && "run" in (source as Model);

/** The models of a task: those loaded here are closed with it. */
export class Models {
  private constructor(
    readonly models: readonly Model[],
    private readonly own: readonly Model[],
  ) {}

  /** Loads what is not loaded yet, all at once. If one fails, the others are closed again. */
  static async load(sources: readonly ModelSource[], { onProgress, ...options }: TaskOptions): Promise<Models> {
    const states: Progress[] = [];
    const wanted = sources.filter((source) => !isModel(source)).length;
    const report = (index: number, progress: Progress): void => {
      states[index] = progress;
      const known = Object.values(states);
      const sum = (of: (state: Progress) => number | null): number | null =>
        known.length < wanted ? null : known.reduce<number | null>((all, state) => add(all, of(state)), 0);
      const phases = known.map(({ phase }) => phase);
      const phase = known.length < wanted || phases.includes("download") ? "download" : phases.includes("compile") ? "compile" : "ready";
      onProgress?.({
        phase,
        loadedBytes: known.reduce((all, { loadedBytes }) => all + loadedBytes, 0),
        totalBytes: sum(({ totalBytes }) => totalBytes),
        seconds: Math.max(...known.map(({ seconds }) => seconds)),
        bytesPerSecond: known.reduce((all, { bytesPerSecond }) => all + bytesPerSecond, 0),
        remainingSeconds: known.length < wanted ? null : known.reduce<number | null>((most, state) =>
          most === null || state.remainingSeconds === null ? null : Math.max(most, state.remainingSeconds), 0),
      });
    };
    const results = await Promise.allSettled(
      sources.map((source, i) =>
        isModel(source) ? Promise.resolve(source) : load(source, { ...options, onProgress: (progress) => report(i, progress) })),
    );
    const models = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const own = models.filter((model) => !sources.includes(model));
    const failure = results.find((result) => result.status === "rejected");
    if (failure) {
      await Promise.all(own.map((model) => model.close()));
      throw failure.reason;
    }
    return new Models(models, own);
  }

  /** Frees the models that were loaded here. */
  async close(): Promise<void> {
    await Promise.all(this.own.map((model) => model.close()));
  }
}

const add = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : a + b);

/** The JSON file of a source. Nothing is fetched but what the caller named. */
export async function json(source: string | URL | Blob | Response | object, what: string, network: "allow" | "none" = "allow"): Promise<unknown> {
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
