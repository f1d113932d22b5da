// A worker: it owns the wasm and the GPU device of its models, and answers the page's calls. What one model is
// asked is done one after the other; between steps of a generation the event loop turns, at most once in 10 ms, so a cancel
// arrives within that or one token.
import { answerRun, type Bell, linger, lookAway } from "./bell.js";
import { HomefireError, type PlainError, toPlain } from "./errors.js";
import type { DeviceHere, WasmEncoder, WasmModel, WasmNetwork, WasmSteps } from "./glue.js";
import { chunkOf, readParts } from "./loader.js";
import type { Answer, Answers, Call, Compiled, Conversation, Ending, Event, ModelCall, Prompt, WireGenerate, WireLoad } from "./messages.js";
import { type ToStage, work } from "./stage.js";
import { sharing, Stages } from "./stages.js";
import { renderChat } from "./template.js";
import { beThread, noThreads, startThreads, threadCount, type ThreadStart } from "./threads.js";
import { turn } from "./turn.js";
import type { DeviceInfo, ModelInfo, Piece } from "./types.js";
import { type Opened, openVariant } from "./variant.js";
import type { WireRun, WireValue } from "./wire.js";

interface Scope {
  postMessage(event: Event, transfer?: Transferable[]): void;
  onmessage: ((message: MessageEvent<Call | ThreadStart | ToStage>) => void) | null;
  onmessageerror: (() => void) | null;
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
  /** The page's view of a device, where the next run may find out that another is better. */
  told?: ((device: DeviceHere) => DeviceInfo) | undefined;
  /** Settles when everything asked so far is done. */
  queue: Promise<void>;
}

/** By the number of the call that loaded them. */
const models = new Map<number, Hosted>();
/** The calls that are not answered yet; a cancelled one is aborted, and answered with that. */
const open = new Map<number, AbortController>();
const chunks = new Map<number, (bytes: Uint8Array | null, error?: PlainError) => void>();
let opened: Promise<Ready> | undefined;
let bell: Bell | undefined;
/** Messages that have come from the page, and calls among them that wait for their turn. */
let come = 0;
let waiting = 0;

const CANCELLED: PlainError = { kind: "cancelled", message: "It was cancelled.", node: undefined };

scope.onmessage = ({ data }) => {
  if (data.call === "thread") return void beThread(data);
  if (data.call === "stage") return work(data);
  come = (come + 1) | 0;
  const { id } = data;
  if (data.call === "cancel") {
    open.get(id)?.abort();
    chunks.get(id)?.(null, CANCELLED);
    // A model that the page does not wait for any more.
    if (models.has(id)) close(id);
  } else if (data.call === "chunk") chunks.get(id)?.(data.bytes, data.error);
  else if (data.call === "load") {
    bell = data.bell;
    void answer(id, "load", begin(id), (signal) => load(id, data.load, data.compiled, signal));
  } else ask(data);
};
// The page hears of it as of any error of the worker.
scope.onmessageerror = () => {
  throw new Error("a message of the page could not be read");
};

/** Opens a call; gives the signal that a cancel aborts. */
function begin(id: number): AbortSignal {
  const controller = new AbortController();
  open.set(id, controller);
  return controller.signal;
}

/** Answers a call to a model when its turn comes. */
function ask(call: ModelCall & { id: number; model: number }): void {
  const { id, model } = call;
  const hosted = models.get(model);
  const signal = begin(id);
  waiting++;
  const now = async (): Promise<void> => {
    waiting--;
    await answer(id, call.call, signal, () => asked(hosted, call, { id, signal }));
    const next = call.call === "run" && waiting === 0 ? linger(bell, come) : undefined;
    if (next) ask(next);
  };
  if (!hosted || ["tokenize", "detokenize", "render"].includes(call.call)) void now();
  else hosted.queue = hosted.queue.then(now);
}

/** Does what a call asks for, unless it was cancelled meanwhile, and answers it. */
async function answer(id: number, call: keyof Answers, signal: AbortSignal, work: (signal: AbortSignal) => Promise<Answer>): Promise<void> {
  try {
    signal.throwIfAborted();
    reply(id, call, await work(signal));
  } catch (thrown) {
    // A fault inside the wasm: a panic, or a stack that overflowed.
    const fault = thrown instanceof WebAssembly.RuntimeError || (thrown instanceof RangeError && /call stack/.test(thrown.message));
    // What is cancelled may fail in any way.
    const error = signal.aborted && !fault ? CANCELLED : toPlain(thrown);
    scope.postMessage({ id, error, ...(fault ? { fatal: true } : {}) });
  } finally {
    open.delete(id);
  }
}

function reply(id: number, call: keyof Answers, value: Answer): void {
  const buffers: Transferable[] = [];
  if (call === "run") {
    if (answerRun(bell, { id, value: value as WireValue[] })) return;
    collect(value as WireValue[], buffers);
  } else if (call === "embed") buffers.push((value as Float32Array<ArrayBuffer>).buffer);
  scope.postMessage({ id, value }, buffers);
}

/** A call whose turn has come. */
interface Turn {
  id: number;
  signal: AbortSignal;
}
type Work<C extends ModelCall["call"]> = (hosted: Hosted, call: Extract<ModelCall, { call: C }>, turn: Turn) => Answers[C] | Promise<Answers[C]>;

/** What each call to a model does. */
const WORK: { [C in Exclude<ModelCall["call"], "close">]: Work<C> } = {
  run: (hosted, call, turn) => run(hosted, call.run, turn),
  read: (hosted, call) => network(hosted).read(call.kept),
  drop: (hosted, call) => void network(hosted).drop(call.kept),
  profile: async (hosted) => {
    const profile = (hosted.network ?? hosted.encoder)?.profile() ?? language(hosted).profile((await hosted.stages?.profile()) ?? []);
    return { ...profile, device: { ...profile.device, workers: hosted.stages?.count ?? 1 } };
  },
  tokenize: (hosted, call) => (hosted.encoder ?? language(hosted)).tokenize(call.text, call.special),
  detokenize: (hosted, call) => (hosted.encoder ?? language(hosted)).detokenize(call.ids),
  render: (hosted, call) => rendered(hosted, call.conversation),
  score: async (hosted, call, { signal }) => {
    const ids = promptIds(hosted, call.text);
    return { ids, logprobs: await stepwise(language(hosted).beginScore(ids), signal) };
  },
  embed: ({ encoder }, call, { signal }) => {
    if (!encoder) throw new HomefireError("invalid-input", "This model is no encoder: embed() wants one, such as MiniLM.");
    return stepwise(encoder.begin(call.texts, call.options), signal);
  },
  generate: (hosted, call, turn) => generate(hosted, call.prompt, call.options, turn),
};

async function asked(hosted: Hosted | undefined, call: ModelCall & { model: number }, turn: Turn): Promise<Answer> {
  if (call.call === "close") return close(call.model);
  if (!hosted || !models.has(call.model)) throw new HomefireError("cancelled", "The model was closed.");
  return (WORK[call.call] as Work<ModelCall["call"]>)(hosted, call, turn);
}

function language({ language, encoder }: Hosted): WasmModel {
  if (!language) throw new HomefireError("invalid-input", `This model is no language model: it is used by ${encoder ? "embed" : "run"}().`);
  return language;
}

function network({ network }: Hosted): WasmNetwork {
  if (!network) throw new HomefireError("invalid-input", "This model is no network: it is used by chat() and complete(), or by embed().");
  return network;
}

/** Forgets a model. */
function close(model: number): undefined {
  const hosted = models.get(model);
  models.delete(model);
  if (hosted) free(hosted);
}

/** Frees what a model has in the wasm, and its other workers. */
function free({ stages, language, network, encoder }: Hosted): void {
  stages?.close();
  language?.free();
  network?.free();
  encoder?.free();
}

async function load(id: number, options: WireLoad, known: readonly Compiled[], signal: AbortSignal): Promise<ModelInfo> {
  opened ??= start(known, options.threads);
  const { glue, compiled, memory, threads } = await opened.catch((thrown) => {
    opened = undefined;
    throw thrown;
  });
  if (!known.some(({ module }) => module === compiled.module)) scope.postMessage({ id, compiled });
  if (options.network === "none") forbidNetwork();
  const kept = { exact: options.exact, ...(options.contextLength === undefined ? {} : { contextLength: options.contextLength }) };
  const loader = new glue.Loader({ device: options.device, ...kept });
  let stages: Stages | string | undefined;
  const hosted: Hosted = { queue: Promise.resolve() };
  try {
    const device = await loader.openDevice();
    signal.throwIfAborted();
    if (device.kind === "cpu") void threads();
    const count = threadCount(options.threads);
    const shared = memory === undefined && count > 1 && device.kind === "cpu";
    const sink = shared ? sharing(loader, () => Stages.start(count, glue, compiled, kept), (outcome) => (stages = outcome)) : loader;
    const pull = (part: number): Promise<Uint8Array | null> =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted();
        chunks.set(id, (bytes, error) => {
          try {
            resolve(chunkOf(bytes, error));
          } catch (thrown) {
            reject(thrown);
          }
        });
        scope.postMessage({ id, pull: part });
      });
    const tell = await readParts(sink, options.parts, { pull, signal }, (progress) => scope.postMessage({ id, progress }));
    signal.throwIfAborted();
    tell("compile");
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
    signal.throwIfAborted();
    const told = (here: DeviceHere): DeviceInfo => deviceOf(here, alone, stages);
    const info = described(hosted, told);
    // Its first run tries both.
    if (hosted.network && options.device === "auto" && info.device.kind === "webgpu") hosted.told = told;
    models.set(id, hosted);
    tell("ready");
    return info;
  } finally {
    chunks.delete(id);
    if (!models.has(id) && typeof stages === "object") stages.close();
    try {
      if (!models.has(id)) free(hosted);
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

async function start(known: readonly Compiled[], wanted: number | undefined): Promise<Ready> {
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
  return language(hosted).tokenize(rendered(hosted, prompt), true);
}

/** The text of a conversation. */
function rendered(hosted: Hosted, conversation: Conversation): string {
  // Another kind of model is a likelier mistake than a missing template.
  language(hosted);
  const template = hosted.template;
  if (template?.template === undefined) {
    throw new HomefireError(
      "invalid-input",
      "This model has no chat template. Pass one to load() as chatTemplate, or use complete() with a prompt in the model's own form.",
    );
  }
  return renderChat(template.template, conversation, template);
}

async function run(hosted: Hosted, { names, values, outputs, keep, profile }: WireRun, { id, signal }: Turn): Promise<WireValue[]> {
  const model = network(hosted);
  model.timeLaunches(profile);
  // A cancel arrives between two rounds of a loop.
  const pause = async (): Promise<boolean> => {
    await turn();
    return !signal.aborted;
  };
  const computed = await model.run(names, values, outputs, keep, pause);
  if (hosted.told) {
    scope.postMessage({ id, device: hosted.told(model.info().device) });
    // The answer comes behind it.
    lookAway(bell);
    hosted.told = undefined;
  }
  return computed;
}

/** The buffers in values, to be moved. */
function collect(value: WireValue, into: Transferable[]): void {
  if (Array.isArray(value)) for (const item of value) collect(item, into);
  else if (value !== null && "data" in value && value.data instanceof Uint8Array) into.push(value.data.buffer as ArrayBuffer);
}

/** Does work step by step, with a look at the messages between two steps. */
async function stepwise(work: WasmSteps, signal: AbortSignal): Promise<Float32Array> {
  try {
    for (;;) {
      const all = await work.next();
      if (all) return all;
      await turn();
      signal.throwIfAborted();
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

async function generate(hosted: Hosted, prompt: Prompt, options: WireGenerate, { id, signal }: Turn): Promise<Ending> {
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
      if (done) return done;
      if (performance.now() - told >= RHYTHM_MS) {
        tell();
        await turn();
      }
      signal.throwIfAborted();
    }
  } finally {
    tell();
    generation.free();
  }
}
