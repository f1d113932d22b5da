// Model truth in the page: the stored answers of the reference implementation, on any device. Comes into the consumer's
// page beside checks.mjs.

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

const reference = async () => (await fetch('/reference/smollm2.json')).json();
const near = 0.1;

/**
 * Greedy tokens with f32 activations, up to the first step whose margin is small; `only` picks cases by name, `most`
 * bounds the tokens of each.
 */
export async function greedy({ load }, { url, device, only = '', most = Infinity }) {
  const model = await load(url, { device, exact: true, contextLength: 256 });
  const told = [];
  for (const { name, ids, exact } of (await reference()).cases.filter((c) => c.name.includes(only))) {
    const small = exact.margin.findIndex((margin) => margin < near);
    const sure = Math.min(most, small < 0 ? exact.greedy.length : small);
    if (sure === 0) continue;
    const answer = await model.complete(ids, { temperature: 0, maxTokens: sure, ignoreEos: true });
    const want = exact.greedy.slice(0, sure);
    assert(answer.ids.join() === want.join(), `${name}: ${answer.ids}, not ${want}`);
    told.push(`${name} ${sure}`);
  }
  if (device === 'webgpu') {
    const { dispatchesPerLayer, dispatchesPerToken, submitsPerToken } = (await model.profile()).gpu;
    assert(dispatchesPerLayer <= 8 && submitsPerToken === 1, `a layer takes ${dispatchesPerLayer} launches, a token ${submitsPerToken} submits`);
    assert(dispatchesPerToken <= model.info.layers * 8 + 5, `a token takes ${dispatchesPerToken} launches`);
    told.push(`${dispatchesPerLayer} launches a layer, ${dispatchesPerToken} and ${submitsPerToken} submit a token`);
  }
  await model.close();
  assert(told.length > 0, 'no case was checked');
  return told.join(', ');
}

/** The perplexity of the reference text with quantised activations, within one per cent of the exact one. */
export async function perplexity({ load }, { url, device }) {
  const { tokens, exact } = (await reference()).perplexity;
  const model = await load(url, { device, contextLength: 512 });
  const { variant } = model.info.device;
  let total = 0;
  for (let start = 0; start < tokens.length; start += 512) {
    const { logprobs } = await model.score(tokens.slice(start, start + 512));
    assert(logprobs.length === 511, `${logprobs.length} scores of 512 tokens`);
    total -= logprobs.reduce((sum, x) => sum + x, 0);
  }
  await model.close();
  const found = Math.exp(total / (tokens.length / 512 * 511));
  const note = `${found.toFixed(3)} on ${variant}, exactly ${exact.ppl.toFixed(3)}`;
  assert(Math.abs(found / exact.ppl - 1) < 0.01, `perplexity ${note}`);
  return note;
}

/** The scores of a short text on the GPU are those of the CPU with f32 activations. */
export async function score({ load }, { url }) {
  const ids = (await reference()).perplexity.tokens.slice(0, 8);
  const scores = [];
  for (const options of [{ device: 'cpu', exact: true }, { device: 'webgpu' }]) {
    const model = await load(url, { ...options, contextLength: 64 });
    scores.push((await model.score(ids)).logprobs);
    const error = await model.score(ids.slice(0, 1)).then(() => null, (e) => e);
    assert(error?.kind === 'invalid-input', `the score of one token: ${error}`);
    await model.close();
  }
  const worst = Math.max(...scores[0].map((x, i) => Math.abs(x - scores[1][i])));
  assert(worst < 0.02, `scores differ by ${worst}`);
  return `within ${worst.toExponential(1)}`;
}

/** Compiles every shader that the page is given, as the package would; gives the names of those that fail. */
export async function shaders(_, { shaders }) {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  const failed = [];
  for (const { name, wgsl } of shaders) {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: wgsl });
    const { messages } = await module.getCompilationInfo();
    const pipeline = device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const error = await pipeline.then(() => null, (e) => e);
    const scope = await device.popErrorScope();
    if (error || scope || messages.some((m) => m.type === 'error')) {
      failed.push(`${name}: ${error?.message ?? scope?.message ?? messages.map((m) => m.message).join()}`);
    }
  }
  return { compiled: shaders.length - failed.length, failed };
}
