// Memory that page and worker share where the page is cross-origin isolated: how often the page has posted, and a slate for
// what is small. To be woken by a message costs both sides as much as a small network. So a worker that has answered a run
// looks for the next call for a moment before it sleeps, as threads do, and a page whose last run was answered at once
// looks for the answer; and whoever is looked for writes on the slate instead of posting.
//
// A flag says of each side whether it looks. The other side writes only then, and says so in the flag; who gives up looking
// takes the flag back first, and finds out whether something came meanwhile. So nobody writes while the other reads.
import type { WireKept, WireRun, WireValue } from "./wire.js";

/** The shared memory: words, and as many bytes. */
export type Bell = Int32Array<SharedArrayBuffer>;

/** A run as it is called, and as it is answered. */
export interface CalledRun {
  call: "run";
  id: number;
  model: number;
  run: WireRun;
}
export interface AnsweredRun {
  id: number;
  value: WireValue[];
}

/** What the words are: the page's messages, whether either side looks, characters of what is written; then the slate. */
const MESSAGES = 0;
const WORKER = 1;
const PAGE = 2;
const CHARACTERS = 3;
const SLATE = 16;

/** What a flag says: that nobody looks, that its side does, that something came for it. */
const [AWAY, LOOKS, CAME] = [0, 1, 2];

/** Bytes of the slate. */
const ROOM = 1 << 15;

/** Milliseconds for the page to take an answer and make the next call. */
const LINGER_MS = 0.2;

/** Milliseconds of a run that are so few that the page looks for the answer, and for how long at most. */
export const QUICK_MS = 0.4;

/** New shared memory, where page and worker may share some. */
export const newBell = (): Bell | undefined => (globalThis.crossOriginIsolated ? new Int32Array(new SharedArrayBuffer(SLATE + ROOM)) : undefined);

/** Says that one more message of the page is on its way. */
export function ring(bell: Bell | undefined): void {
  if (bell) Atomics.add(bell, MESSAGES, 1);
}

/** The worker looks a moment for a call, or for a message beyond those that have come. Gives the call. */
export function linger(bell: Bell | undefined, come: number): CalledRun | undefined {
  if (!bell) return undefined;
  look(bell, WORKER, LINGER_MS, () => Atomics.load(bell, MESSAGES) === come);
  if (Atomics.exchange(bell, WORKER, AWAY) !== CAME) return undefined;
  const { head, values } = read(bell);
  const { id, model, run } = head as Omit<CalledRun, "call">;
  return { call: "run", id, model, run: { ...run, values } };
}

/** The page calls for a run on the slate. False where the worker does not look, or the run does not fit. */
export function callFor(bell: Bell | undefined, { id, model, run: { values, ...run } }: CalledRun): boolean {
  return write(bell, WORKER, { id, model, run }, values);
}

/** The page looks a moment for the answer, which may come as a message all the same. */
export function lookForAnswer(bell: Bell): AnsweredRun | undefined {
  look(bell, PAGE, QUICK_MS, () => true);
  if (Atomics.exchange(bell, PAGE, AWAY) !== CAME) return undefined;
  const { head, values } = read(bell);
  return { id: (head as AnsweredRun).id, value: values };
}

/** The worker answers on the slate. False where the page does not look, or the answer does not fit: it is to be posted. */
export function answerRun(bell: Bell | undefined, { id, value }: AnsweredRun): boolean {
  if (write(bell, PAGE, { id }, value)) return true;
  lookAway(bell);
  return false;
}

/** The page need not look any more: what comes for it is posted. */
export function lookAway(bell: Bell | undefined): void {
  if (bell) Atomics.compareExchange(bell, PAGE, LOOKS, AWAY);
}

function look(bell: Bell, side: number, ms: number, longer: () => boolean): void {
  const end = performance.now() + ms;
  Atomics.store(bell, side, LOOKS);
  while (Atomics.load(bell, side) === LOOKS && longer() && performance.now() < end);
}

/** Writes for the side that looks: what the values are as a text, then their elements. */
function write(bell: Bell | undefined, side: number, head: object, values: readonly WireValue[]): boolean {
  if (!bell || Atomics.load(bell, side) !== LOOKS) return false;
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const shapes = values.map((value) => {
    if (value === null) return value;
    // Dimensions may come as a typed array, which JSON would make an object of.
    if ("kept" in value) return { ...value, dims: Array.from(value.dims) };
    if (Array.isArray(value) || !(value.data instanceof Uint8Array)) {
      bytes = Infinity;
      return null;
    }
    parts.push(value.data);
    bytes += value.data.length;
    return { type: value.type, dims: Array.from(value.dims), n: value.data.length };
  });
  if (bytes > ROOM) return false;
  const text = JSON.stringify({ head, shapes });
  if (2 * text.length + bytes > ROOM) return false;
  const characters = new Uint16Array(bell.buffer, SLATE);
  for (let i = 0; i < text.length; i++) characters[i] = text.charCodeAt(i);
  bell[CHARACTERS] = text.length;
  const all = new Uint8Array(bell.buffer, SLATE);
  let at = 2 * text.length;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return Atomics.compareExchange(bell, side, LOOKS, CAME) === LOOKS;
}

function read(bell: Bell): { head: object; values: WireValue[] } {
  const length = bell[CHARACTERS] as number;
  const text = String.fromCharCode(...new Uint16Array(bell.buffer, SLATE, length));
  const { head, shapes } = JSON.parse(text) as { head: object; shapes: (null | WireKept | { type: string; dims: number[]; n: number })[] };
  const all = new Uint8Array(bell.buffer, SLATE);
  let at = 2 * length;
  const values = shapes.map((shape) => {
    if (shape === null || "kept" in shape) return shape;
    const { type, dims, n } = shape;
    at += n;
    return { type, dims, data: all.slice(at - n, at) };
  });
  return { head, values: values as WireValue[] };
}
