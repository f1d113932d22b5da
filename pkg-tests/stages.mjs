// Workers that share a language model's layers, in a page without the headers that isolate it: to the bit what one worker
// answers, and what becomes of it when such a worker fails.
function assert(condition, what) {
  if (!condition) throw new Error(what);
}

const LONG = Uint32Array.from({ length: 300 }, (_, i) => (i * 37 + 11) % 40_000);
const greedy = { temperature: 0, maxTokens: 8, ignoreEos: true };

/** A model that two workers share; a machine that has too much to do may say no at first. */
async function shared(load, url, more) {
  for (let tries = 0; ; tries++) {
    const model = await load(url, { device: 'cpu', contextLength: 512, threads: 2, ...more });
    if (model.info.device.workers === 2 || tries === 15) return model;
    await model.close();
  }
}

/** What a model says to several questions, each to the last bit. */
async function answers(model) {
  const told = [];
  const ask = async (ids, options) => {
    const { ids: made, logprobs, usage } = await model.complete(ids, { ...greedy, ...options });
    told.push(JSON.stringify([made, logprobs, usage.reusedTokens]));
  };
  await ask(LONG, { logprobs: 3, reusePrefix: false });
  // From a place within the prompt on, then from within the answer on.
  await ask(LONG.slice(0, 200), { logprobs: 3 });
  await ask([...LONG.slice(0, 150), 5, 6, 7]);
  await ask(LONG, { temperature: 0.8, seed: 7 });
  told.push(JSON.stringify(Array.from((await model.score(LONG.slice(0, 150))).logprobs)));
  told.push((await model.profile()).nodes.map(({ node }) => node).join());
  return told;
}

export async function stages({ load }, { url }) {
  assert(!crossOriginIsolated, 'the page is isolated');
  const one = await load(url, { device: 'cpu', contextLength: 512, threads: 1 });
  assert(one.info.device.workers === 1, `one worker: ${JSON.stringify(one.info.device)}`);
  const want = await answers(one);
  await one.close();
  const two = await shared(load, url);
  const { workers, threads, reason } = two.info.device;
  assert(workers === 2 && threads === 1 && /2 workers share the layers: .*not cross-origin isolated/.test(reason), JSON.stringify(two.info.device));
  const got = await answers(two);
  want.forEach((answer, i) => assert(got[i] === answer, `answer ${i} is ${got[i]}, that of one worker ${answer}`));
  // A prompt that is left half way has no effect on what comes after it.
  const stop = new AbortController();
  const left = two.complete(LONG, { ...greedy, reusePrefix: false, signal: stop.signal });
  setTimeout(() => stop.abort(), 60);
  const error = await left.then(() => null, (e) => e);
  assert(error?.kind === 'cancelled', `a cancelled prompt gave ${error}`);
  assert((await answers(two))[0] === want[0], 'the answer after a cancelled prompt is another');
  const late = two.complete(LONG, { ...greedy, reusePrefix: false }).then(() => null, (e) => e);
  await two.close();
  assert((await late)?.kind === 'cancelled', 'a closed model answered');
  // The stored answers of the reference implementation, and a file that the page holds.
  const exact = await shared(load, await (await fetch(url)).blob(), { exact: true });
  const { cases } = await (await fetch('/reference/smollm2.json')).json();
  const [{ name, ids, exact: { greedy: reference, margin } }] = cases.filter(({ exact }) => exact.margin.slice(0, 8).every((m) => m > 0.05));
  assert(exact.info.device.workers === 2 && margin.length >= 8, `${JSON.stringify(exact.info.device)} for ${name}`);
  const made = (await exact.complete(ids, greedy)).ids;
  assert(made.join() === reference.slice(0, 8).join(), `${name}: ${made}, not ${reference.slice(0, 8)}`);
  await exact.close();
  return reason;
}

/** A worker with layers fails: the answer does, with a reason, and so do those after it. */
export async function stageFails({ load }, { url }) {
  const model = await shared(load, url);
  assert(model.info.device.workers === 2, JSON.stringify(model.info.device));
  for (let i = 0; i < 2; i++) {
    const error = await model.complete(LONG, greedy).then(() => null, (e) => e);
    assert(error?.kind === 'internal' && /has layers of the model failed.*Load the model again/.test(error.message), `it gave ${error}`);
  }
  assert((await model.tokenize('a')).length > 0, 'the first worker is gone too');
  await model.close();
  const again = await load(url, { device: 'cpu', threads: 1 });
  assert((await again.complete(LONG, greedy)).ids.length === 8, 'one worker alone does not answer');
  await again.close();
}

/** Workers that cannot start are done without. */
export async function noStages({ load }, { url, saying }) {
  const model = await load(url, { device: 'cpu', threads: 2 });
  const { workers, reason } = model.info.device;
  assert(workers === 1 && new RegExp(saying).test(reason), JSON.stringify(model.info.device));
  assert((await model.complete(LONG, greedy)).ids.length === 8, 'it does not answer');
  await model.close();
  return reason;
}
