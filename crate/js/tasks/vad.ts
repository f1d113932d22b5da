// Voice activity with Silero VAD: the probability of speech for every 32 ms of a stream, and the stretches of speech.
import { HomefireError, Tensor, type Model } from "../index.js";
import { Models, type ModelSource, type TaskOptions } from "./load.js";
import { Resampler } from "./resample.js";
import { Segmenter, type Segment, type SegmentOptions } from "./segments.js";

/** The rate that the network hears, and how many samples at once; it is given the end of the chunk before as well. */
const RATE = 16000;
const CHUNK = 512;
const CONTEXT = 64;

/** Sound: a file that the browser can decode, what it has decoded, or the samples of one channel, between -1 and 1. */
export type SoundSource = Blob | AudioBuffer | { samples: Float32Array; rate: number };

export interface StreamOptions extends SegmentOptions {
  /** Samples per second of what is pushed (16000). */
  rate?: number;
}

/** What became known with some more of a stream. */
export interface Heard {
  /** The probability of speech of each new chunk of 32 ms. */
  probabilities: number[];
  /** Stretches of speech that have ended. */
  segments: Segment[];
}

/**
 * Loads Silero VAD.
 *
 * ```js
 * const vad = await loadVad("/models/silero-vad.onnx");
 * const { segments } = await vad.detect(file);                        // [{ start, end }] in seconds
 *
 * const stream = vad.stream({ rate: 48000 });                         // or live
 * const { probabilities } = await stream.push(samples);
 * ```
 * @throws {HomefireError} as `load()`; `invalid-input` when the model is another one.
 */
export async function loadVad(source: ModelSource, options: TaskOptions = {}): Promise<Vad> {
  const models = await Models.load([source], options);
  const model = models.models[0] as Model;
  const names = model.info.inputs.map(({ name }) => name);
  if (names.includes("input") && names.includes("state")) return new Vad(models, model);
  await models.close();
  throw new HomefireError("invalid-input", `This is not Silero VAD, version 5 or later: its inputs are ${names.join(", ") || "none"}, not input, state and sr.`);
}

/** Voice activity detection that is ready. It is freed by `close()`. */
export class Vad {
  /** @internal */
  constructor(
    private readonly models: Models,
    private readonly model: Model,
  ) {}

  /** A new stream of sound; any number may be open. */
  stream(options: StreamOptions = {}): VadStream {
    return new VadStream(this.model, options);
  }

  /** The whole of a sound: each chunk's probability, and the stretches of speech. */
  async detect(source: SoundSource, { signal, onHeard, ...options }: SegmentOptions & { signal?: AbortSignal; onHeard?: (heard: Heard) => void } = {}): Promise<Heard> {
    const { samples, rate } = await decode(source);
    const stream = this.stream({ ...options, rate });
    const all: Heard = { probabilities: [], segments: [] };
    const add = (heard: Heard): void => {
      all.probabilities.push(...heard.probabilities);
      all.segments.push(...heard.segments);
      onHeard?.(heard);
    };
    for (let at = 0; at < samples.length; at += rate) {
      if (signal?.aborted) throw new HomefireError("cancelled", "The detection was cancelled by its signal.");
      add(await stream.push(samples.subarray(at, at + rate)));
    }
    add(await stream.end());
    return all;
  }

  /** Frees the model, if `loadVad` loaded it. */
  async close(): Promise<void> {
    await this.models.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** One stream of sound. Pushes are taken in order, whether they are awaited or not. */
export class VadStream {
  private readonly resampler: Resampler;
  private readonly segmenter: Segmenter;
  private state: Tensor = new Tensor("float32", new Float32Array(256), [2, 1, 128]);
  /** The end of the chunk before, then the samples of the next one so far. */
  private window = new Float32Array(CONTEXT + CHUNK);
  private filled = CONTEXT;
  private samples = 0;
  private queue: Promise<unknown> = Promise.resolve();
  private readonly takesRate: boolean;

  /** @internal */
  constructor(
    private readonly model: Model,
    { rate = RATE, ...options }: StreamOptions,
  ) {
    if (!(Number.isInteger(rate) && rate >= 4000 && rate <= 384_000)) {
      throw new HomefireError("invalid-input", `The rate is ${String(rate)}; it must be a whole number of samples per second, 4000 to 384000.`);
    }
    this.resampler = new Resampler(rate, RATE);
    this.segmenter = new Segmenter(options, RATE, CHUNK);
    this.takesRate = model.info.inputs.some(({ name }) => name === "sr");
  }

  /** The second at which the speech under way began; `undefined` in silence. */
  get speakingSince(): number | undefined {
    return this.segmenter.speakingSince;
  }

  /** The next samples of one channel, between -1 and 1, at the rate of the stream. */
  push(samples: Float32Array): Promise<Heard> {
    const own = samples.slice();
    return this.queued(() => this.take(this.resampler.push(own)));
  }

  /** Ends the stream: its last chunk, and the speech that was under way. */
  end(): Promise<Heard> {
    return this.queued(async () => {
      const heard = await this.take(this.resampler.end());
      const { samples } = this;
      if (this.filled > CONTEXT) {
        const last = await this.take(new Float32Array(CONTEXT + CHUNK - this.filled));
        heard.probabilities.push(...last.probabilities);
        heard.segments.push(...last.segments);
      }
      heard.segments.push(...this.segmenter.end(samples));
      return heard;
    });
  }

  private queued(work: () => Promise<Heard>): Promise<Heard> {
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }

  private async take(samples: Float32Array): Promise<Heard> {
    const heard: Heard = { probabilities: [], segments: [] };
    for (let at = 0; at < samples.length; ) {
      const some = samples.subarray(at, at + this.window.length - this.filled);
      this.window.set(some, this.filled);
      this.filled += some.length;
      at += some.length;
      this.samples += some.length;
      if (this.filled < this.window.length) break;
      const probability = await this.chunk();
      heard.probabilities.push(probability);
      const segment = this.segmenter.push(probability);
      if (segment) heard.segments.push(segment);
    }
    return heard;
  }

  private async chunk(): Promise<number> {
    const input = new Tensor("float32", this.window, [1, this.window.length]);
    const sr = new Tensor("int64", [BigInt(RATE)], []);
    const { output, stateN } = await this.model.run({ input, state: this.state, ...(this.takesRate ? { sr } : {}) });
    this.state = stateN as Tensor;
    this.window.copyWithin(0, CHUNK);
    this.filled = CONTEXT;
    return (output as Tensor).data[0] as number;
  }
}

/** The samples of a sound, its channels mixed. */
async function decode(source: SoundSource): Promise<{ samples: Float32Array; rate: number }> {
  if (!(source instanceof Blob)) {
    if (typeof source === "object" && source && "getChannelData" in source) return mixed(source);
    if (typeof source === "object" && source && source.samples instanceof Float32Array && source.rate > 0) return source;
    throw new HomefireError("invalid-input", "A sound is a File, a Blob, an AudioBuffer, or { samples, rate } with a Float32Array and its samples per second.");
  }
  let sound: AudioBuffer;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await source.arrayBuffer());
  } catch {
    throw new HomefireError("format", `${source instanceof File ? `“${source.name}”` : "This"} is no sound that this browser can decode. WAV, MP3, Ogg and AAC mostly are.`);
  }
  return mixed(sound);
}

function mixed(sound: AudioBuffer): { samples: Float32Array; rate: number } {
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const own = sound.getChannelData(channel);
    for (let i = 0; i < own.length; i++) samples[i] = (samples[i] as number) + (own[i] as number) / sound.numberOfChannels;
  }
  return { samples, rate: sound.sampleRate };
}
