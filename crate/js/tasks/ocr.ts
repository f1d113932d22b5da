// Text in pictures, with the models of PP-OCR (or others of their form): detection of boxes, direction, recognition.
import { HomefireError } from "../index.js";
import type { Quad } from "./geometry.js";
import { Models, type ModelSource, type TaskOptions } from "./load.js";
import { Pace } from "./pace.js";
import { pictureOf, type ImageSource } from "./picture.js";
import { findBoxes, type DetectionOptions } from "./text_boxes.js";
import { lying, readLines, turned, upright, type Reading } from "./text_lines.js";

/** The networks of OCR. */
export interface OcrModels {
  /** Gives the probability of text, pixel by pixel: `[1, 3, h, w]` → `[1, 1, h, w]`. */
  detection: ModelSource;
  /** Tells lines that stand on their head: `[n, 3, 48, 192]` → `[n, 2]`. Without it every line is taken as upright. */
  direction?: ModelSource;
  /** Reads lines: `[n, 3, 48, w]` → `[n, steps, classes]`. */
  recognition: ModelSource;
}

export interface OcrOptions extends TaskOptions {
  /** The characters that the recogniser knows, in order, without the blank; where its file does not list them itself. */
  characters?: readonly string[];
}

export interface ReadOptions extends DetectionOptions {
  /** Lines below this score are left out (0.5). */
  minScore?: number;
  /** The boxes as soon as they are found, in the pixels of the source. */
  onBoxes?: (boxes: Quad[]) => void;
  /** Each line as soon as it is read; not in reading order. */
  onLine?: (line: TextLine) => void;
  signal?: AbortSignal;
}

/** A line of text in a picture. */
export interface TextLine {
  text: string;
  /** The mean probability of its characters. */
  score: number;
  /** Its corners in the pixels of the source, from the beginning of its upper edge on in reading direction. */
  box: Quad;
}

/** Pictures are not looked at more closely than this, in pixels of the longer side. */
const MOST_SIDE = 2000;
/** A line with a lower score is read once more, turned by half a turn. */
const DOUBTFUL = 0.8;

/**
 * Loads the models of OCR.
 *
 * ```js
 * const ocr = await loadOcr({ detection: "/models/ocr-det.onnx", direction: "/models/ocr-cls.onnx", recognition: "/models/ocr-rec.onnx" });
 * for (const { text, score, box } of await ocr.read(file)) console.log(text);
 * ```
 * @throws {HomefireError} as `load()`; `format` when the recogniser's file does not list its characters and none are given.
 */
export async function loadOcr({ detection, direction, recognition }: OcrModels, { characters, ...options }: OcrOptions = {}): Promise<Ocr> {
  const models = await Models.load([detection, recognition, ...(direction ? [direction] : [])], options);
  const listed = models.models[1]?.info.metadata["character"]?.split(/\r?\n/);
  // As written by PaddleOCR: one character a line, the space added behind them.
  const known = characters ?? (listed && [...(listed.at(-1) === "" ? listed.slice(0, -1) : listed), " "]);
  if (known) return new Ocr(models, known);
  await models.close();
  throw new HomefireError("format", "The recogniser's file does not list its characters: give them as `characters`, in the order of its classes.");
}

/** OCR that is ready. It is freed by `close()`. */
export class Ocr {
  /** How long the last `read` kept the page busy in all, and at most without a break. @internal */
  pace = new Pace();

  /** @internal */
  constructor(
    private readonly models: Models,
    private readonly characters: readonly string[],
  ) {}

  /** The lines of a picture, in reading order. */
  async read(source: ImageSource, options: ReadOptions = {}): Promise<TextLine[]> {
    const { minScore = 0.5, onBoxes, onLine, signal } = options;
    const cancelled = (): HomefireError => new HomefireError("cancelled", "Reading was cancelled by its signal.");
    if (signal?.aborted) throw cancelled();
    const pace = (this.pace = new Pace(signal));
    const [detection, recognition, direction] = this.models.models;
    if (!detection || !recognition) throw new HomefireError("internal", "OCR has no models.");
    try {
      const { picture, scale } = await pictureOf(source, MOST_SIDE, pace);
      const outside = (quad: Quad): Quad => quad.map(([x, y]) => [x / scale, y / scale]) as unknown as Quad;
      let boxes = (await findBoxes(detection, picture, options, pace, signal)).map(lying);
      if (direction) boxes = await upright(direction, picture, boxes, pace, signal);
      onBoxes?.(boxes.map(outside));
      const read = async (quads: readonly Quad[], onRead: (index: number, reading: Reading) => void): Promise<void> =>
        readLines(recognition, this.characters, picture, quads, onRead, pace, signal);
      const lines: TextLine[] = [];
      const take = (index: number, { text, score }: Reading, box: Quad): void => {
        if (text === "" || score < minScore) return;
        lines[index] = { text, score, box: outside(box) };
        onLine?.(lines[index]);
      };
      const doubtful: { index: number; reading: Reading; box: Quad }[] = [];
      await read(boxes, (index, reading) => {
        const box = boxes[index] as Quad;
        if (direction && reading.score < DOUBTFUL) doubtful.push({ index, reading, box: turned(box) });
        else take(index, reading, box);
      });
      // The classifier sees long lines squeezed, and is wrong about some: what reads badly is tried the other way round.
      await read(doubtful.map(({ box }) => box), (i, reading) => {
        const { index, reading: before, box } = doubtful[i] as (typeof doubtful)[0];
        if (reading.score > before.score) take(index, reading, box);
        else take(index, before, turned(box));
      });
      pace.pause();
      return lines.filter(Boolean);
    } catch (thrown) {
      if (signal?.aborted) throw cancelled();
      throw thrown;
    }
  }

  /** Frees the models that `loadOcr` loaded. */
  async close(): Promise<void> {
    await this.models.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
