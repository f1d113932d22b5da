// What a text box says: a classifier tells whether it stands on its head, a recogniser gives the probabilities of each
// character from left to right, and the likeliest ones without repetitions and blanks are the text (CTC).
import { HomefireError, type Model, type Tensor, type TensorLike } from "../index.js";
import { distance, type Quad } from "./geometry.js";
import type { Pace } from "./pace.js";
import type { Picture } from "./picture.js";
import { straightened } from "./sample.js";

/** The height of a line as the networks see it. */
const HEIGHT = 48;
/** Lines are read so many at a time. */
const BATCH = 6;
/** The least width of a batch, and the step in which it grows: each width takes a plan of its own. */
const WIDTH = 320;
const WIDTH_STEP = 32;
/** The longest line, so that none takes all memory; a longer one is squeezed. */
const MOST_WIDTH = HEIGHT * 80;

/** A text that was read. */
export interface Reading {
  text: string;
  /** The mean probability of its characters. */
  score: number;
}

/** Width over height. */
const ratioOf = ([tl, tr, br, bl]: Quad): number =>
  Math.max(distance(tl, tr), distance(bl, br)) / Math.max(1, distance(tl, bl), distance(tr, br));

/** A box that is much taller than wide holds a line that goes down: its right side is read as its top. */
export const lying = (quad: Quad): Quad => {
  const [tl, tr, br, bl] = quad;
  return 1 / ratioOf(quad) >= 1.5 ? [tr, br, bl, tl] : quad;
};

/** A box as seen after half a turn. */
export const turned = ([tl, tr, br, bl]: Quad): Quad => [br, bl, tl, tr];

/** Boxes as a batch `[n, 3, HEIGHT, width]`, each at the left, grey (0) right of it. */
async function batchOf(picture: Picture, quads: readonly Quad[], width: number, pace: Pace): Promise<TensorLike> {
  const data = new Float32Array(quads.length * 3 * HEIGHT * width);
  for (const [i, quad] of quads.entries()) {
    const own = Math.min(width, Math.max(1, Math.ceil(HEIGHT * ratioOf(quad))));
    const fineness = Math.min(4, Math.max(1, Math.floor(distance(quad[0], quad[3]) / HEIGHT)));
    await straightened(picture, quad, { width: own, height: HEIGHT, fineness }, data, i, width, pace);
  }
  return { type: "float32", dims: [quads.length, 3, HEIGHT, width], data };
}

async function run(model: Model, input: TensorLike, pace: Pace, signal?: AbortSignal): Promise<{ data: Float32Array; dims: readonly number[] }> {
  pace.pause();
  const outputs = await model.run({ [model.info.inputs[0]?.name ?? "x"]: input }, { transfer: true, ...(signal ? { signal } : {}) });
  pace.resume();
  const { data, dims } = Object.values(outputs)[0] as Tensor;
  return { data: data as Float32Array, dims };
}

/** The boxes, each turned by half a turn where the classifier is sure that it stands on its head. */
export async function upright(model: Model, picture: Picture, quads: readonly Quad[], pace: Pace, signal?: AbortSignal): Promise<Quad[]> {
  const right = [...quads];
  for (let at = 0; at < quads.length; at += BATCH) {
    const some = quads.slice(at, at + BATCH);
    const { data } = await run(model, await batchOf(picture, some, 4 * HEIGHT, pace), pace, signal);
    for (const [i, quad] of some.entries()) if ((data[i * 2 + 1] as number) > 0.9) right[at + i] = turned(quad);
  }
  return right;
}

/** Reads the boxes, narrow ones first; `onRead` gets each as it is known, with its place in `quads`. */
export async function readLines(
  model: Model,
  characters: readonly string[],
  picture: Picture,
  quads: readonly Quad[],
  onRead: (index: number, reading: Reading) => void,
  pace: Pace,
  signal?: AbortSignal,
): Promise<void> {
  const order = quads.map((quad, index) => ({ quad, index, ratio: ratioOf(quad) })).sort((a, b) => a.ratio - b.ratio);
  for (let at = 0; at < order.length; at += BATCH) {
    const some = order.slice(at, at + BATCH);
    const widest = Math.max(WIDTH, HEIGHT * (some.at(-1)?.ratio ?? 1));
    const width = Math.min(MOST_WIDTH, Math.ceil(widest / WIDTH_STEP) * WIDTH_STEP);
    const { data, dims } = await run(model, await batchOf(picture, some.map(({ quad }) => quad), width, pace), pace, signal);
    const [, steps = 0, classes = 0] = dims;
    for (const [i, { index }] of some.entries()) {
      onRead(index, await decoded(data.subarray(i * steps * classes, (i + 1) * steps * classes), classes, characters, pace));
    }
  }
}

/** The text of one line's probabilities `[steps, classes]`; class 0 is the blank. */
export async function decoded(probabilities: Float32Array, classes: number, characters: readonly string[], pace: Pace): Promise<Reading> {
  if (classes !== characters.length + 1) {
    throw new HomefireError(
      "shape-mismatch",
      `The recogniser tells ${classes} classes apart, and the list has ${characters.length} characters, where it should have one fewer ` +
        "than classes (the blank). Give the list that belongs to the model as `characters`.",
    );
  }
  let [text, sum, n, before] = ["", 0, 0, 0];
  for (let row = 0; row < probabilities.length; row += classes) {
    let [best, most] = [0, -Infinity];
    for (let i = 0; i < classes; i++) {
      const p = probabilities[row + i] as number;
      if (p > most) [best, most] = [i, p];
    }
    if (best !== 0 && best !== before) {
      text += characters[best - 1];
      sum += most;
      n++;
    }
    before = best;
    if (pace.due) await pace.breathe();
  }
  return { text, score: n === 0 ? 0 : sum / n };
}
