// A worker: it owns the wasm and the GPU device of its models, and answers the page's calls. What one model is
// asked is done one after the other; between steps of a generation the event loop turns, at most once in 10 ms, so a cancel
// arrives within that or one token.
import { answerRun, type Bell, linger } from "./bell.js";
import { HomefireError, toPlain } from "./errors.js";
import type { DeviceHere, WasmEncoder, WasmModel, WasmNetwork } from "./glue.js";
import { chunkOf, readParts } from "./loader.js";
import type { Call, Compiled, Event, ModelCall, Prompt, WireEmbed, WireGenerate, WireLoad } from "./messages.js";
import { type ToStage, work } from "./stage.js";
import { sharing, Stages } from "./stages.js";
import { renderChat } from "./template.js";
import { beThread, noThreads, startThreads, threadCount, type ThreadStart } from "./threads.js";
import type { ModelInfo, Piece } from "./types.js";
import { type Opened, openVariant } from "./variant.js";
import type { WireRun, WireValue } from "./wire.js";

interface Scope {
  postMessage(event: Event, transfer?: Transferable[]): void;
  onmessage: ((message: MessageEvent<Call | ThreadStart | ToStage>) => void) | null;
  fetch: typeof fetch;
}
const scope = self as unknown as Scope;

/** A loaded model, of one of the three kinds. */
interface Hosted {
  language?: WasmModel;
  network?: WasmNetwork;
  encoder?: WasmEncoder;
  /** The workers that have a language model's later layers. */
  stages?: Stages | undefined;
  template?: { template: string | undefined; bosToken: string | undefined; eosToken: string | undefined };
  /** Settles when everything asked so far is done. */
  queue: Promise<void>;
}

/** By the number of the call that loaded them. */
const models = new Map<number, Hosted>();
const cancelled = new Set<number>();
const chunks = new Map<number, (call: Extract<Call, { call: "chunk" }>) => void>();
let opened: Promise<Ready> | undefined;
let bell: Bell | undefined;
/** Messages that have come from the page, and calls among them that wait for their turn. */
let come = 0;
let waiting = 0;

scope.onmessage = ({ data }) => {
  if (data.call === "thread") return void beThread(data);
  if (data.call === "stage") return work(data);
  come = (come + 1) | 0;
  if (data.call === "cancel") {
    // A model that the page does not wait for any more.
    if (models.has(data.id)) close(data.id);
    else cancelled.add(data.id);
  } else if (data.call === "chunk") chunks.get(data.id)?.(data);
  else if (data.call === "load") {
    bell = data.bell;
    void answer(data.id, () => load(data.id, data.load, data.compiled));
  } else ask(data);
};

/** Answers a call to a model when its turn comes. */
function ask(call: ModelCall & { id: number; model: number }): void {
  const { id, model } = call;
  const hosted = models.get(model);
  waiting++;
  const now = (): Promise<void> => {
    waiting--;
    return answer(id, () => asked(id, hosted, model, call));
  };
  if (!hosted || call.call === "tokenize" || call.call === "detokenize") void now();
  else hosted.queue = hosted.queue.then(now);
}

async function answer(id: number, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    const error = toPlain(thrown);
    // A fault inside the wasm: a panic, or a stack that overflowed.
    const fault = thrown instanceof WebAssembly.RuntimeError || (thrown instanceof RangeError && /call stack/.test(error.message));
    scope.postMessage({ id, error, ...(fault ? { fatal: true } : {}) });
  } finally {
    cancelled.delete(id);
  }
}

/** Answers one call to a model, unless it was cancelled meanwhile. */
async function asked(id: number, hosted: Hosted | undefined, model: number, call: ModelCall): Promise<void> {
  if (cancelled.has(id)) return;
  const reply = (value: Extract<Event, { value: unknown }>["value"], transfer?: Transferable[]): void => scope.postMessage({ id, value }, transfer);
  if (call.call === "close") {
    close(model);
    return reply(undefined);
  }
  if (!hosted || !models.has(model)) throw new HomefireError("cancelled", "The model was closed.");
  if (call.call === "run") {
    const value = await run(id, network(hosted), call.run);
    if (!answerRun(bell, { id, value })) {
      const buffers: Transferable[] = [];
      collect(value, buffers);
      reply(value, buffers);
    }
    const next = waiting === 0 ? linger(bell, come) : undefined;
    if (next) ask(next);
  } else if (call.call === "read") reply(await network(hosted).read(call.kept));
  else if (call.call === "drop") {
    network(hosted).drop(call.kept);
    reply(undefined);
  } else if (call.call === "profile") {
    const profile = (hosted.network ?? hosted.encoder)?.profile() ?? language(hosted).profile((await hosted.stages?.profile()) ?? []);
    reply({ ...profile, device: { ...profile.device, workers: hosted.stages?.count ?? 1 } });
  }
  else if (call.call === "tokenize") reply((hosted.encoder ?? language(hosted)).tokenize(call.text, call.special));
  else if (call.call === "detokenize") reply((hosted.encoder ?? language(hosted)).detokenize(call.ids));
  else if (call.call === "score") {
    const ids = promptIds(hosted, call.text);
    reply({ ids, logprobs: await language(hosted).score(ids) });
  } else if (call.call === "embed") {
    const vectors = await embed(id, hosted, call.texts, call.options);
    if (vectors) reply(vectors, [vectors.buffer as ArrayBuffer]);
  } else await generate(id, hosted, call.prompt, call.options);
}

function language({ language, encoder }: Hosted): WasmModel {
  if (!language) throw new HomefireError("invalid-input", `This model is no language model: it is used by ${encoder ? "embed" : "run"}().`);
  return language;
}

function network({ network }: Hosted): WasmNetwork {
  if (!network) throw new HomefireError("invalid-input", "This model is no network: it is used by chat() and complete(), or by embed().");
  return network;
}

/** Forgets a model and frees what it has in the wasm. */
function close(model: number): void {
  const hosted = models.get(model);
  models.delete(model);
  hosted?.stages?.close();
  hosted?.language?.free();
  hosted?.network?.free();
  hosted?.encoder?.free();
}

async function load(id: number, options: WireLoad, known: Compiled | undefined): Promise<void> {
  const stopped = (): void => {
    if (cancelled.has(id)) throw new HomefireError("cancelled", "Loading was cancelled.");
  };
  opened ??= start(known, options.threads);
  const { glue, compiled, memory, threads } = await opened.catch((thrown) => {
    opened = undefined;
    throw thrown;
  });
  if (compiled.module !== known?.module) scope.postMessage({ id, compiled });
  if (options.network === "none") forbidNetwork();
  const kept = { exact: options.exact, ...(options.contextLength === undefined ? {} : { contextLength: options.contextLength }) };
  const loader = new glue.Loader({ device: options.device, ...kept });
  let stages: Stages | string | undefined;
  let loaded = false;
  try {
    const device = await loader.openDevice();
    if (device.kind === "cpu") void threads();
    const count = threadCount(options.threads);
    const shared = memory === undefined && count > 1 && device.kind === "cpu";
    const sink = shared ? sharing(loader, () => Stages.start(count, glue, compiled, kept), (outcome) => (stages = outcome)) : loader;
    const pull = (part: number): Promise<Uint8Array | null> =>
      new Promise((resolve, reject) => {
        chunks.set(id, ({ bytes, error }) => {
          try {
            resolve(chunkOf(bytes, error));
          } catch (thrown) {
            reject(thrown);
          }
        });
        scope.postMessage({ id, pull: part });
      });
    const tell = await readParts(sink, options.parts, pull, (progress) => scope.postMessage({ id, progress }), stopped);
    tell("compile");
    const hosted: Hosted = { queue: Promise.resolve() };
    if (loader.isNetwork()) hosted.network = loader.finishNetwork();
    else if (loader.isEncoder()) hosted.encoder = loader.finishEncoder();
    else {
      if (typeof stages === "object") {
        await stages.finish();
        hosted.stages = stages;
      }
      hosted.language = loader.finish(hosted.stages?.send);
      const own = hosted.language.chatTemplate();
      hosted.template = {
        template: options.chatTemplate ?? own.template ?? undefined,
        bosToken: own.bosToken ?? undefined,
        eosToken: own.eosToken ?? undefined,
      };
    }
    // A language model on the GPU leaves the CPU nothing that threads could share.
    const alone = hosted.language?.info().device.kind === "webgpu" ? undefined : await threads();
    const value = described(hosted, (here) => deviceOf({ ...device, ...here }, alone, stages));
    models.set(id, hosted);
    loaded = true;
    if (cancelled.has(id)) return close(id);
    tell("ready");
    scope.postMessage({ id, value });
  } finally {
    chunks.delete(id);
    if (!loaded && typeof stages === "object") stages.close();
    try {
      loader.free();
    } catch {
      // After a fault inside the wasm it is borrowed for ever.
    }
  }
}

/** What the page is told of a model, given how its device is told. */
function described({ network, encoder, language, template }: Hosted, told: (device: DeviceHere) => ModelInfo["device"]): ModelInfo {
  if (language) {
    const { device, ...info } = language.info();
    const hasChatTemplate = template?.template !== undefined;
    return { ...info, embeddingLength: 0, device: told(device), hasChatTemplate, inputs: [], outputs: [], metadata: {} };
  }
  if (network) {
    const { device, ...info } = network.info();
    return { ...NO_LANGUAGE, ...info, device: told(device) };
  }
  if (!encoder) throw new HomefireError("internal", "Nothing was loaded.");
  const { device, ...info } = encoder.info();
  return { ...NO_LANGUAGE, ...info, device: told(device), inputs: [], outputs: [] };
}

/** The device, with what came of its threads and, of a language model, of the workers that were to share it. */
function deviceOf(device: DeviceHere, alone: string | undefined, stages: Stages | string | undefined): ModelInfo["device"] {
  const workers = typeof stages === "object" ? stages.count : 1;
  if (alone === undefined) return { ...device, workers };
  const some = workers > 1 ? `${workers} workers share the layers` : device.threads === 1 ? "one thread" : `${device.threads} threads`;
  const why = typeof stages === "string" ? `${alone}, and ${stages}` : alone;
  return { ...device, workers, reason: `${device.reason}; ${some}: ${why}` };
}

/** The wasm, and what starts its threads, once: it gives why there are none, or fewer than wanted. */
interface Ready extends Opened {
  threads: () => Promise<string | undefined>;
}

async function start(known: Compiled | undefined, wanted: number | undefined): Promise<Ready> {
  const count = threadCount(wanted);
  const impossible = count > 1 ? noThreads() : undefined;
  const ready = await openVariant(known, count > 1 && impossible === undefined);
  const { compiled, memory, without } = ready;
  let started: Promise<string | undefined> | undefined;
  const threads = (): Promise<string | undefined> =>
    (started ??= memory ? startThreads(count - 1, compiled, memory) : Promise.resolve(impossible ?? without));
  return { ...ready, threads };
}

/** What other models have instead of what language models have. */
const NO_LANGUAGE = {
  name: "",
  parameters: 0,
  quantization: "",
  contextLength: 0,
  trainedContextLength: 0,
  vocabularySize: 0,
  embeddingLength: 0,
  hasChatTemplate: false,
  metadata: {},
};

let forbidden = false;
/** Nothing in this worker can reach the network from here on. */
function forbidNetwork(): void {
  if (forbidden) return;
  forbidden = true;
  const inner = scope.fetch;
  scope.fetch = (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (/^(blob|data):/.test(url)) return inner.call(self, input, init);
    return Promise.reject(new HomefireError("fetch", `network: "none" forbids fetching ${url}.`));
  };
  for (const name of ["XMLHttpRequest", "WebSocket", "EventSource", "WebTransport", "importScripts"]) {
    Reflect.deleteProperty(self, name);
  }
}

function promptIds(hosted: Hosted, prompt: Prompt): Uint32Array {
  if ("ids" in prompt) return prompt.ids;
  if ("text" in prompt) return language(hosted).promptIds(prompt.text);
  const template = hosted.template;
  if (template?.template === undefined) {
    throw new HomefireError(
      "invalid-input",
      "This model has no chat template. Pass one to load() as chatTemplate, or use complete() with a prompt in the model's own form.",
    );
  }
  return language(hosted).tokenize(renderChat(template.template, prompt.messages, template), true);
}

const run = (id: number, network: WasmNetwork, { names, values, outputs, keep, profile }: WireRun): Promise<WireValue[]> => {
  network.timeLaunches(profile);
  // A cancel arrives between two rounds of a loop.
  const pause = async (): Promise<boolean> => {
    await turn();
    return !cancelled.has(id);
  };
  return network.run(names, values, outputs, keep, pause);
};

/** The buffers in values, to be moved. */
function collect(value: WireValue, into: Transferable[]): void {
  if (Array.isArray(value)) for (const item of value) collect(item, into);
  else if (value !== null && "data" in value && value.data instanceof Uint8Array) into.push(value.data.buffer as ArrayBuffer);
}

/** The vectors of texts, unless they are cancelled. */
async function embed(id: number, { encoder }: Hosted, texts: string[], options: WireEmbed): Promise<Float32Array | undefined> {
  if (!encoder) throw new HomefireError("invalid-input", "This model is no encoder: embed() wants one, such as MiniLM.");
  const work = encoder.begin(texts, options);
  try {
    for (;;) {
      const vectors = await work.next();
      if (vectors) return vectors;
      await turn();
      if (cancelled.has(id)) return undefined;
    }
  } finally {
    work.free();
  }
}

/**
 * How long a generation goes on before the page is told what was written and may say something, such as to cancel. Both take time of the
 * threads that compute, and more than once a frame nobody sees it.
 */
const RHYTHM_MS = 10;

async function generate(id: number, hosted: Hosted, prompt: Prompt, options: WireGenerate): Promise<void> {
  // Without a seed, each answer is drawn anew.
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const generation = language(hosted).generate(promptIds(hosted, prompt), { ...options, seed });
  let piece: Piece = { text: "", ids: [] };
  // The first token is told at once.
  let told = -Infinity;
  const tell = (): void => {
    if (piece.text === "" && piece.ids.length === 0) return;
    scope.postMessage({ id, piece });
    piece = { text: "", ids: [] };
    told = performance.now();
  };
  try {
    for (;;) {
      const { text, ids, logprobs, done } = await generation.next();
      piece.text += text;
      piece.ids.push(...ids);
      if (logprobs) (piece.logprobs ??= []).push(...logprobs);
      if (done) {
        tell();
        return scope.postMessage({ id, done });
      }
      if (performance.now() - told >= RHYTHM_MS) {
        tell();
        await turn();
      }
      if (cancelled.has(id)) throw new HomefireError("cancelled", "The generation was cancelled.");
    }
  } finally {
    tell();
    generation.free();
  }
}

const { port1, port2 } = new MessageChannel();
const turns: (() => void)[] = [];
port2.onmessage = () => turns.shift()?.();
/** One turn of the event loop, without the delay that timers have. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    turns.push(resolve);
    port1.postMessage(0);
  });
