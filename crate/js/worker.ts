// The worker of one model: it owns the wasm and the GPU device, and answers the page's calls. Generations
// run one after the other; between two steps the event loop turns, so a cancel arrives within one token.
import { HomefireError, toPlain } from "./errors.js";
import type { WasmEncoder, WasmModel, WasmNetwork } from "./glue.js";
import { chunkOf, readParts } from "./loader.js";
import type { Call, Event, Prompt, WireEmbed, WireGenerate, WireLoad } from "./messages.js";
import { renderChat } from "./template.js";
import type { WireTensor } from "./tensor.js";
import type { ModelInfo } from "./types.js";
import { openVariant } from "./variant.js";

interface Scope {
  postMessage(event: Event, transfer?: Transferable[]): void;
  onmessage: ((message: MessageEvent<Call>) => void) | null;
  fetch: typeof fetch;
}
const scope = self as unknown as Scope;

let model: WasmModel | undefined;
let network: WasmNetwork | undefined;
let encoder: WasmEncoder | undefined;
let template: { template: string | undefined; bosToken: string | undefined; eosToken: string | undefined };
let queue: Promise<void> = Promise.resolve();
const cancelled = new Set<number>();
const chunks = new Map<number, (call: Extract<Call, { call: "chunk" }>) => void>();

scope.onmessage = ({ data }) => {
  if (data.call === "cancel") cancelled.add(data.id);
  else if (data.call === "chunk") chunks.get(data.id)?.(data);
  else if (data.call === "generate") {
    const { id, prompt, options } = data;
    queue = queue.then(() => answer(id, () => generate(id, prompt, options)));
  } else if (data.call === "score") {
    const { id, text } = data;
    queue = queue.then(() => answer(id, () => score(id, text)));
  } else if (data.call === "embed") {
    const { id, texts, options } = data;
    queue = queue.then(() => answer(id, () => embed(id, texts, options)));
  } else if (data.call === "run") {
    const { id, inputs, outputs } = data;
    queue = queue.then(() => answer(id, () => run(id, inputs, outputs)));
  } else void answer(data.id, () => reply(data));
};

async function answer(id: number, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    scope.postMessage({ id, error: toPlain(thrown) });
  }
}

async function reply(call: Exclude<Call, { call: "cancel" | "chunk" | "generate" | "score" | "embed" | "run" }>): Promise<void> {
  const { id } = call;
  if (call.call === "load") scope.postMessage({ id, value: await load(id, call.load) });
  else if (call.call === "tokenize") scope.postMessage({ id, value: (encoder ?? loaded()).tokenize(call.text, call.special) });
  else if (call.call === "detokenize") scope.postMessage({ id, value: (encoder ?? loaded()).detokenize(call.ids) });
  else scope.postMessage({ id, value: (network ?? encoder ?? loaded()).profile() });
}

function loaded(): WasmModel {
  if (network) throw new HomefireError("invalid-input", "This model is no language model: it is used by run().");
  if (encoder) throw new HomefireError("invalid-input", "This model is no language model: it is used by embed().");
  if (!model) throw new HomefireError("internal", "The model is not loaded.");
  return model;
}

async function load(id: number, options: WireLoad): Promise<ModelInfo> {
  const glue = await openVariant();
  if (options.network === "none") forbidNetwork();
  const loader = new glue.Loader({
    device: options.device,
    exact: options.exact,
    ...(options.contextLength === undefined ? {} : { contextLength: options.contextLength }),
  });
  const device = await loader.openDevice();
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
  const tell = await readParts(loader, options.parts, pull, (progress) => scope.postMessage({ id, progress }));
  tell("compile");
  if (loader.isNetwork()) {
    network = loader.finishNetwork();
    tell("ready");
    const info = network.info();
    return { ...NO_LANGUAGE, ...info, device: { ...device, ...info.device } };
  }
  if (loader.isEncoder()) {
    encoder = loader.finishEncoder();
    tell("ready");
    const info = encoder.info();
    return { ...NO_LANGUAGE, ...info, device: { ...device, ...info.device }, inputs: [], outputs: [] };
  }
  model = loader.finish();
  tell("ready");
  const own = model.chatTemplate();
  template = {
    template: options.chatTemplate ?? own.template ?? undefined,
    bosToken: own.bosToken ?? undefined,
    eosToken: own.eosToken ?? undefined,
  };
  const info = model.info();
  return { ...info, embeddingLength: 0, device: { ...device, ...info.device }, hasChatTemplate: template.template !== undefined, inputs: [], outputs: [] };
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
};

/** Nothing in this worker can reach the network from here on. */
function forbidNetwork(): void {
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

function promptIds(prompt: Prompt): Uint32Array {
  if ("ids" in prompt) return prompt.ids;
  if ("text" in prompt) return loaded().promptIds(prompt.text);
  if (template.template === undefined) {
    throw new HomefireError(
      "invalid-input",
      "This model has no chat template. Pass one to load() as chatTemplate, or use complete() with a prompt in the model's own form.",
    );
  }
  return loaded().tokenize(renderChat(template.template, prompt.messages, template), true);
}

async function score(id: number, text: { text: string } | { ids: Uint32Array }): Promise<void> {
  const ids = promptIds(text);
  scope.postMessage({ id, value: { ids, logprobs: await loaded().score(ids) } });
}

async function embed(id: number, texts: string[], options: WireEmbed): Promise<void> {
  if (cancelled.delete(id)) return;
  if (!encoder) throw new HomefireError("invalid-input", "This model is no encoder: embed() wants one, such as MiniLM.");
  const work = encoder.begin(texts, options);
  try {
    for (;;) {
      const vectors = await work.next();
      if (vectors) return scope.postMessage({ id, value: vectors }, [vectors.buffer]);
      await turn();
      if (cancelled.has(id)) return;
    }
  } finally {
    cancelled.delete(id);
    work.free();
  }
}

async function run(id: number, inputs: WireTensor[], outputs: readonly string[]): Promise<void> {
  if (cancelled.delete(id)) return;
  if (!network) throw new HomefireError("invalid-input", "This model is no network: it is used by chat() and complete(), or by embed().");
  const value = await network.run(inputs, outputs);
  cancelled.delete(id);
  scope.postMessage({ id, value }, value.map(({ data }) => data.buffer));
}

async function generate(id: number, prompt: Prompt, options: WireGenerate): Promise<void> {
  if (cancelled.delete(id)) throw new HomefireError("cancelled", "The generation was cancelled before it began.");
  // Without a seed, each answer is drawn anew.
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const generation = loaded().generate(promptIds(prompt), { ...options, seed });
  try {
    for (;;) {
      const { text, ids, logprobs, done } = await generation.next();
      if (text !== "" || ids.length > 0) {
        scope.postMessage({ id, piece: { text, ids: Array.from(ids), ...(logprobs ? { logprobs } : {}) } });
      }
      if (done) return scope.postMessage({ id, done });
      await turn();
      if (cancelled.has(id)) throw new HomefireError("cancelled", "The generation was cancelled.");
    }
  } finally {
    cancelled.delete(id);
    generation.free();
  }
}

const { port1, port2 } = new MessageChannel();
let turned = (): void => {};
port2.onmessage = () => turned();
/** One turn of the event loop, without the delay that timers have. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    turned = resolve;
    port1.postMessage(0);
  });
