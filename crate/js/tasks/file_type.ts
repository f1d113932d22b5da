// The type of a file by what is in it, with Magika: the network sees the first and the last bytes of the file.
import { HomefireError, type Model, type Tensor } from "../index.js";
import { json, Models, type ModelSource, type TaskOptions } from "./load.js";

/** A JSON file, or what is in it. */
export type JsonSource = string | URL | Blob | Response | object;

/** The files of Magika. */
export interface FileTypeModels {
  model: ModelSource;
  /** `config.min.json` beside the model: its labels and thresholds. */
  config: JsonSource;
  /** `content_types_kb.min.json` of Magika: MIME type, group and description of every label. */
  types?: JsonSource;
}

/** What a file is. */
export interface FileType {
  /** Such as `python`, `png`; `txt` and `unknown` where the network is not sure; `empty`. */
  label: string;
  /** The network's probability for its own label; 1 where it was not asked. */
  score: number;
  /** The network's own label; `undefined` where it was not asked, for files of a few bytes. */
  guess: string | undefined;
  /** With `types`: the MIME type, the group (`code`, `image`, …), a description, the usual file names' endings. */
  mime?: string;
  group?: string;
  description?: string;
  extensions?: string[];
}

interface Config {
  beg_size: number;
  end_size: number;
  block_size: number;
  padding_token: number;
  min_file_size_for_dl: number;
  medium_confidence_threshold: number;
  target_labels_space: string[];
  thresholds: Record<string, number>;
  overwrite_map: Record<string, string>;
}

interface KnownType {
  mime_type: string | null;
  group: string | null;
  description: string | null;
  extensions: string[];
  is_text: boolean;
}

/** What Python's `bytes.strip()` takes away: tab, line feed, vertical tab, form feed, carriage return, space. */
const isSpace = (byte: number | undefined): boolean => byte !== undefined && (byte === 32 || (byte >= 9 && byte <= 13));

/**
 * Loads Magika.
 *
 * ```js
 * const files = await loadFileType({ model: "/models/magika.onnx", config: "/models/magika.config.json", types: "/models/magika.types.json" });
 * const { label, score, mime } = await files.identify(file);
 * ```
 * @throws {HomefireError} as `load()`; `format` when the configuration is none of Magika's.
 */
export async function loadFileType({ model, config, types }: FileTypeModels, options: TaskOptions = {}): Promise<FileTypes> {
  const { network } = options;
  const [settings, known] = await Promise.all([
    json(config, "Magika's configuration", network) as Promise<Config>,
    types ? (json(types, "Magika's list of types", network) as Promise<Record<string, KnownType>>) : {},
  ]);
  const whole = Array.isArray(settings.target_labels_space) && [settings.beg_size, settings.end_size, settings.block_size].every((n) => n > 0 && n <= 1 << 20);
  if (!whole) throw new HomefireError("format", "This is not Magika's configuration: it has no target_labels_space, beg_size, end_size or block_size.");
  const models = await Models.load([model], options);
  return new FileTypes(models, models.models[0] as Model, settings, known);
}

/** Magika, ready. It is freed by `close()`. */
export class FileTypes {
  /** @internal */
  constructor(
    private readonly models: Models,
    private readonly model: Model,
    private readonly config: Config,
    private readonly types: Record<string, KnownType>,
  ) {}

  /** The type of a file. Of a large one only the beginning and the end are read. */
  async identify(source: Blob | Uint8Array | ArrayBuffer): Promise<FileType> {
    const { config } = this;
    const blob = source instanceof Blob ? source : new Blob([source as Uint8Array<ArrayBuffer>]);
    if (blob.size === 0) return this.described("empty", 1, undefined);
    const read = async (from: number, to: number): Promise<Uint8Array> => new Uint8Array(await blob.slice(from, to).arrayBuffer());
    const head = await read(0, config.block_size);
    const begin = stripStart(head).subarray(0, config.beg_size);
    if (blob.size < config.min_file_size_for_dl || begin.length < config.min_file_size_for_dl) return this.described(fewBytes(head), 1, undefined);
    const end = stripEnd(await read(Math.max(0, blob.size - config.block_size), blob.size)).slice(-config.end_size);
    const ids = new Int32Array(config.beg_size + config.end_size).fill(config.padding_token);
    ids.set(begin);
    ids.set(end, ids.length - end.length);
    const input = this.model.info.inputs[0]?.name ?? "bytes";
    const outputs = await this.model.run({ [input]: { type: "int32", dims: [1, ids.length], data: ids } });
    const { data } = Object.values(outputs)[0] as Tensor;
    const scores = data as Float32Array;
    const best = scores.indexOf(Math.max(...scores));
    const guess = config.target_labels_space[best];
    if (guess === undefined) throw new HomefireError("shape-mismatch", `The network tells ${scores.length} types apart, its configuration names ${config.target_labels_space.length}.`);
    return this.judged(guess, scores[best] as number);
  }

  /** The label as Magika gives it in its mode of high confidence. */
  private judged(guess: string, score: number): FileType {
    const { thresholds, overwrite_map: overwrite, medium_confidence_threshold: medium } = this.config;
    const label = overwrite[guess] ?? guess;
    if (score >= (thresholds[guess] ?? medium)) return this.described(label, score, guess);
    return this.described(this.types[label]?.is_text ? "txt" : "unknown", score, guess);
  }

  private described(label: string, score: number, guess: string | undefined): FileType {
    const known = this.types[label];
    return {
      label,
      score,
      guess,
      ...(known?.mime_type ? { mime: known.mime_type } : {}),
      ...(known?.group ? { group: known.group } : {}),
      ...(known?.description ? { description: known.description } : {}),
      ...(known?.extensions ? { extensions: known.extensions } : {}),
    };
  }

  /** Frees the model, if `loadFileType` loaded it. */
  async close(): Promise<void> {
    await this.models.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function stripStart(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (isSpace(bytes[start])) start++;
  return bytes.subarray(start);
}

function stripEnd(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (isSpace(bytes[end - 1])) end--;
  return bytes.subarray(0, end);
}

/** Too few bytes for the network: text if they are UTF-8. */
function fewBytes(bytes: Uint8Array): string {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return "txt";
  } catch {
    return "unknown";
  }
}
