// A source becomes bytes in file order: URLs and Blobs are read here in the worker as streams; the page
// sends the bytes of buffers and Responses chunk by chunk, as they are asked for. Of a model in several files,
// the headers of all are read before the rest of the first, for only together they describe the model. An ONNX
// file comes before the files that it names.
import { onAbort } from "./abort.js";
import { fromPlain, HomefireError, messageOf, type PlainError } from "./errors.js";
import type { WirePart } from "./messages.js";
import type { WasmLoader } from "./glue.js";
import type { Progress } from "./types.js";

/** The largest chunk handed to wasm at once: its copy there is the whole staging cost. */
const CHUNK = 1 << 20;

/** How bytes are had, until the signal is aborted. */
export interface Reach {
  /** Asks the page for the next chunk of its source `index`; `null` at the end. */
  pull(index: number): Promise<Uint8Array | null>;
  signal: AbortSignal;
}

interface Opened {
  bytes: number | null;
  chunks: AsyncIterable<Uint8Array>;
}

/** A file to be read from its beginning. */
interface Waiting {
  name: string | undefined;
  /** Its length, where that is known before it is opened. */
  bytes: number | null;
  open(): Promise<Opened>;
}

/** What takes the bytes of files in order: a loader, or several. */
export interface Sink extends Pick<WasmLoader, "wantsFile" | "beginFile" | "push" | "progress"> {
  pushHeader(chunk: Uint8Array): ReturnType<WasmLoader["pushHeader"]> | Promise<ReturnType<WasmLoader["pushHeader"]>>;
  endOfFile(): void | Promise<void>;
}

/** Reads every part into `loader`, reporting on the way. After an abort it fails, whatever the error says. */
export async function readParts(
  loader: Sink,
  parts: readonly WirePart[],
  reach: Reach,
  report: (progress: Progress) => void,
): Promise<(phase: Progress["phase"]) => void> {
  const start = performance.now();
  let loaded = 0;
  let total: number | null = 0;
  // What the file's header says, where nobody said how long the file is.
  let expected: number | null = null;
  let last = -Infinity;
  const tell = (phase: Progress["phase"]): void => {
    const seconds = (performance.now() - start) / 1000;
    const speed = seconds > 0 ? loaded / seconds : 0;
    const state = phase === "download" ? loader.progress() : undefined;
    expected = state?.expectedBytes ?? expected;
    const all = total ?? expected;
    report({
      phase,
      loadedBytes: loaded,
      totalBytes: all,
      seconds,
      bytesPerSecond: speed,
      remainingSeconds: all === null || speed === 0 ? null : Math.max(0, all - loaded) / speed,
      ...(state?.tensor ? { tensor: state.tensor } : {}),
    });
    last = performance.now();
  };
  const files = parts.length > 1 ? await inOrder(loader, parts, reach) : parts.map((part) => waiting(part, reach));
  for (const [index, file] of files.entries()) {
    if (index > 0 && !loader.wantsFile(file.name)) {
      if (isOnnx(file)) throw new HomefireError("invalid-input", `"${file.name}" is no part of "${files[0]?.name}": load each ONNX file on its own.`);
      file.bytes = 0;
      continue;
    }
    const opened = await file.open();
    file.bytes = opened.bytes;
    total = files.reduce<number | null>((sum, { bytes }) => (sum === null || bytes === null ? null : sum + bytes), 0);
    tell("download");
    loader.beginFile(opened.bytes ?? undefined, file.name);
    for await (const chunk of opened.chunks) {
      for (let at = 0; at < chunk.length; at += CHUNK) {
        const slice = chunk.subarray(at, at + CHUNK);
        reach.signal.throwIfAborted();
        await loader.push(slice);
        loaded += slice.length;
        if (performance.now() - last > 50) tell("download");
      }
    }
    await loader.endOfFile();
  }
  tell("download");
  return tell;
}

const isOnnx = ({ name }: { name?: string | undefined }): boolean => /\.onnx$/i.test(name ?? "");

const waiting = (part: WirePart, reach: Reach): Waiting => ({
  name: part.name,
  bytes: "blob" in part ? part.blob.size : "pull" in part ? part.bytes : null,
  open: () => open(part, reach),
});

/** The parts in the order in which they are read: an ONNX file, by its name or else by what is in it, is the first. */
async function inOrder(loader: Sink, parts: readonly WirePart[], reach: Reach): Promise<Waiting[]> {
  const named = parts.findIndex(isOnnx);
  const { files, network } = named < 0 ? await readHeaders(loader, parts, reach) : { files: [], network: named };
  const all = parts.map((part, index) => files[index] ?? waiting(part, reach));
  return network === undefined ? all : [...all.splice(network, 1), ...all];
}

/** Gives `loader` the header of every part, until one is an ONNX file. What comes back reads each part from its beginning. */
async function readHeaders(loader: Sink, parts: readonly WirePart[], reach: Reach): Promise<{ files: Waiting[]; network?: number }> {
  const files: Waiting[] = [];
  // Of a file that may yet be the data of a network.
  let unknown: { error: unknown } | undefined;
  for (const part of parts) {
    const opened = await open(part, reach);
    const chunks = opened.chunks[Symbol.asyncIterator]();
    const read: Uint8Array[] = [];
    const again = async (): Promise<void> => {
      const { name } = part;
      if ("pull" in part) files.push({ name, bytes: opened.bytes, open: async () => ({ bytes: opened.bytes, chunks: rest(read, chunks) }) });
      else {
        await chunks.return?.();
        files.push({ ...waiting(part, reach), bytes: opened.bytes });
      }
    };
    loader.beginFile(opened.bytes ?? undefined, part.name);
    let state: ReturnType<WasmLoader["pushHeader"]> | "unknown" = "more";
    let length = 0;
    while (state === "more") {
      const step = await chunks.next();
      if (step.done) {
        // Now its length is known, and a header may end where the file does.
        loader.beginFile(length, part.name);
        state = await loader.pushHeader(new Uint8Array());
        break;
      }
      // Of what is opened anew nothing is kept: its chunks share one buffer.
      if ("pull" in part) read.push(step.value);
      length += step.value.length;
      try {
        state = await loader.pushHeader(step.value);
      } catch (error) {
        unknown ??= { error };
        state = "unknown";
      }
    }
    if (state === "more") throw new HomefireError("format", `File ${files.length + 1} of ${parts.length} ends inside its header. Download it again.`);
    if (state === "all") {
      await chunks.return?.();
      files.push({ name: part.name, bytes: 0, open: async () => ({ bytes: 0, chunks: nothing() }) });
    } else await again();
    if (state === "network") return { files, network: files.length - 1 };
  }
  if (unknown) throw unknown.error;
  return { files };
}

/** The chunks that were read already, then the others: a stream that the page holds cannot begin anew. */
async function* rest(read: Uint8Array[], others: AsyncIterator<Uint8Array>): AsyncIterable<Uint8Array> {
  for (let chunk = read.shift(); chunk; chunk = read.shift()) yield chunk;
  for (let step = await others.next(); !step.done; step = await others.next()) yield step.value;
}

async function* nothing(): AsyncIterable<Uint8Array> {}

async function open(part: WirePart, reach: Reach): Promise<Opened> {
  const { signal } = reach;
  signal.throwIfAborted();
  if ("blob" in part) return { bytes: part.blob.size, chunks: stream(part.blob.stream(), "the file", signal) };
  if ("pull" in part) return { bytes: part.bytes, chunks: pulled(part.pull, reach) };
  let response: Response;
  try {
    response = await fetch(part.url, { signal });
  } catch (thrown) {
    throw new HomefireError(
      "fetch",
      `${part.url} could not be fetched (${messageOf(thrown)}). ` +
        "Check the address, the connection, and that its server allows this origin (CORS).",
    );
  }
  if (!response.ok || !response.body) {
    throw new HomefireError("fetch", `${part.url} answered ${response.status} ${response.statusText}. Check the address.`);
  }
  const encoded = response.headers.get("content-encoding");
  const length = Number(response.headers.get("content-length"));
  return { bytes: !encoded && length > 0 ? length : null, chunks: stream(response.body, part.url, signal) };
}

/** The bytes of a stream. A chunk is valid until the next is asked for: where it can, one buffer goes to and fro. */
async function* stream(body: ReadableStream<Uint8Array<ArrayBuffer>>, name: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const { read, cancel } = reading(body);
  const end = (): Promise<void> => cancel().catch(() => undefined);
  const off = onAbort(signal, () => void end());
  try {
    for (;;) {
      const chunk = await read().catch(brokeOff(name));
      if (!chunk) return;
      yield chunk;
    }
  } finally {
    off();
    await end();
  }
}

const brokeOff = (name: string) => (thrown: unknown): never => {
  throw new HomefireError("fetch", `Reading ${name} broke off (${messageOf(thrown)}). Load it again.`);
};

interface Reading {
  /** The next chunk; `null` at the end. */
  read(): Promise<Uint8Array | null>;
  cancel(): Promise<void>;
}

/** Reads into a buffer of ours where the stream allows it, so that a large file leaves no garbage behind. */
function reading(body: ReadableStream<Uint8Array<ArrayBuffer>>): Reading {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = body.getReader({ mode: "byob" });
  } catch {
    const plain = body.getReader();
    return { read: async () => (await plain.read()).value ?? null, cancel: () => plain.cancel() };
  }
  let buffer = new ArrayBuffer(CHUNK);
  const read = async (): Promise<Uint8Array | null> => {
    const { value, done } = await reader.read(new Uint8Array(buffer));
    if (done || !value) return null;
    buffer = value.buffer;
    return value;
  };
  return { read, cancel: () => reader.cancel() };
}

async function* pulled(index: number, { pull }: Reach): AsyncIterable<Uint8Array> {
  for (let chunk = await pull(index); chunk; chunk = await pull(index)) yield chunk;
}

/** The page's side of `pull`: one reader for each part whose bytes the page holds. @internal */
export class Pump {
  private readonly readers: (() => Promise<Uint8Array | null>)[] = [];
  private readonly streams: ReadableStreamDefaultReader<Uint8Array>[] = [];

  /** Takes over a buffer or a Response and gives its wire form. */
  add(source: ArrayBuffer | Uint8Array | Response): WirePart {
    const pull = this.readers.length;
    if (source instanceof Response) {
      if (!source.ok) throw new HomefireError("fetch", `The Response has status ${source.status}.`);
      if (source.bodyUsed || source.body?.locked) {
        throw new HomefireError("fetch", "The Response was read already, is locked, or was given twice. Fetch it anew, or give a clone() of it.");
      }
      const reader = source.body?.getReader();
      if (reader) this.streams.push(reader);
      this.readers.push(async () => {
        const { value } = (await reader?.read().catch(brokeOff("a Response"))) ?? {};
        return value ?? null;
      });
      const length = Number(source.headers.get("content-length"));
      return { pull, bytes: length > 0 && !source.headers.get("content-encoding") ? length : null };
    }
    const bytes = source instanceof Uint8Array ? source : new Uint8Array(source);
    let at = 0;
    this.readers.push(async () => (at < bytes.length ? bytes.slice(at, (at += CHUNK)) : null));
    return { pull, bytes: bytes.length };
  }

  /** The next chunk of one source, free to be transferred. */
  async next(index: number): Promise<Uint8Array | null> {
    return (await this.readers[index]?.()) ?? null;
  }

  /** The load has ended: what is left of its Responses need not be downloaded. */
  cancel(): void {
    for (const reader of this.streams) void reader.cancel().catch(() => undefined);
  }
}

/** Turns the page's answer to a pull into the chunk, or throws its error. @internal */
export function chunkOf(bytes: Uint8Array | null, error: PlainError | undefined): Uint8Array | null {
  if (error) throw fromPlain(error);
  return bytes;
}
