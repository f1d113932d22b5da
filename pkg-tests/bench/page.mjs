// Measures one engine at one workload, as `benchSpec` says, which the driver sets before any script runs. All times are the
// page's own clock, in ms.
import { inputsOf, languageModel, networks } from './workloads.mjs';

const now = () => performance.now();

/** Calls `work` until `ms` have passed, and at least `least` times; gives how long each call took. */
async function repeat(work, ms, least = 1) {
  const times = [];
  const end = now() + ms;
  while (now() < end || times.length < least) {
    const start = now();
    await work();
    times.push(now() - start);
  }
  return times;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** The median time of a run of a network. */
async function network(engine, { workload, threads, models, warm, measure }) {
  const { file, steps = 1, chain = {} } = networks[workload];
  const response = await fetch(models + file);
  if (!response.ok) throw new Error(`${file}: status ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  await engine.setup({ threads });
  const start = now();
  const session = await engine.createOnnx({ bytes, threads });
  const loadMs = now() - start;
  const inputs = inputsOf(workload);
  let outputs;
  const run = async () => {
    let fed = inputs;
    for (let step = 0; step < steps; step++) {
      outputs = await session.run(fed);
      fed = { ...fed, ...Object.fromEntries(Object.entries(chain).map(([from, to]) => [to, outputs[from]])) };
    }
  };
  await repeat(run, warm);
  const ms = median(await repeat(run, measure, 5));
  // By which engines are seen to compute the same.
  const mean = ({ data }) => data.reduce((sum, x) => sum + Math.abs(Number(x)), 0) / data.length;
  return { loadMs, ms, means: Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, mean(tensor)])) };
}

/** Tokens a second of reading prompts and of writing. */
async function language(engine, { threads, models, warm, prompts }) {
  await engine.setup({ threads });
  const start = now();
  const model = await engine.createLlm({ url: models + languageModel.file, context: languageModel.context, threads });
  const loadMs = now() - start;
  const complete = async ({ ids, text }, count) => {
    const begin = now();
    const at = [];
    const { promptTokens, drafted } = await model.complete({ ids, text, count, onToken: () => at.push(now()) });
    if (promptTokens !== undefined && promptTokens !== ids.length) throw new Error(`${ids.length} tokens were read as ${promptTokens}`);
    if (at.length !== count) throw new Error(`${at.length} tokens came, not ${count}`);
    return { read: ids.length / ((at[0] - begin) / 1000), written: (count - 1) / ((at.at(-1) - at[0]) / 1000), drafted };
  };
  const { short, middle, long } = prompts;
  await repeat(async () => (await complete(middle.warm, 1), await complete(short.warm, 24)), warm);
  const { written: decode, drafted } = await complete(short.timed, languageModel.decode);
  const prefill = {};
  for (const prompt of [middle, long]) prefill[prompt.timed.ids.length] = (await complete(prompt.timed, 1)).read;
  return { loadMs, decode, drafted, prefill, info: model.info };
}

/** From the navigation to the first token. */
async function firstToken(engine, { threads, models, prompts }) {
  const at = { script: now() };
  await engine.setup({ threads });
  at.code = now();
  const model = await engine.createLlm({ url: models + languageModel.file, context: languageModel.context, threads });
  at.model = now();
  await model.complete({ ...prompts.short.timed, count: 2, onToken: () => (at.token ??= now()) });
  return { at, info: model.info };
}

/** The median time of turning texts into vectors. */
async function texts(engine, { threads, models, warm, measure, sentences }) {
  await engine.setup({ threads, models });
  const start = now();
  const model = await engine.createEncoder({ models, threads });
  const loadMs = now() - start;
  let vectors;
  const run = async () => (vectors = await model.embed(sentences));
  await repeat(run, warm);
  return { loadMs, ms: median(await repeat(run, measure, 5)), means: { ...Array.from(vectors[0].slice(0, 8), Math.abs) } };
}

/** The ids and texts of prompts that are read as exactly so many tokens. */
async function tokenise(engine, { models, text, sizes }) {
  const model = await engine.tokenizer(models + languageModel.file);
  const ids = [...(await model.tokenize(text))];
  const pieceOf = async (start, size) => {
    // Where text is cut, tokens may come out otherwise: the next place is tried.
    for (let at = start; at + size < ids.length; at++) {
      const piece = ids.slice(at, at + size);
      const text = await model.detokenize(piece);
      const again = [...(await model.tokenize(text))];
      if (again.length === size && again.every((id, i) => id === piece[i])) return { ids: piece, text };
    }
    throw new Error(`no stretch of ${size} tokens`);
  };
  const prompts = {};
  for (const [name, size] of Object.entries(sizes)) prompts[name] = { warm: await pieceOf(0, size), timed: await pieceOf(size + 100, size) };
  return prompts;
}

const jobs = { network, language, firstToken, texts, tokenise };
const spec = globalThis.benchSpec;
const result = async () => ({ ...(await jobs[spec.job](await import(spec.engine), spec)), isolated: crossOriginIsolated });
if (spec) globalThis.benchResult = result().catch((error) => ({ error: String(error.message ?? error) }));
