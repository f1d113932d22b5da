// What runs in a consumer's page: encoders against the vectors of the reference implementations.
const assert = (yes, what) => {
  if (!yes) throw new Error(what);
};
const json = async (url) => (await fetch(url)).json();
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** The error that a call rejects with. */
const refusal = (work) => work.then(() => { throw new Error('it did not reject'); }, (error) => error);

const NAMES = ['config.json', 'tokenizer.json', 'model.safetensors', 'modules.json', 'pooling.json', 'sentence_bert_config.json'];

/** A tiny encoder gives its reference's vectors, from URLs, bytes and Responses, in any order; errors say what is wrong. */
export async function encoder({ load, HomefireError }, { device, folder = '/encoders/bert' }) {
  const urls = NAMES.map((name) => `${folder}/${name}`);
  const { texts, vectors, mean } = await json(`${folder}/vectors.json`);
  const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
  const sources = [urls, [...urls].reverse(), await Promise.all(urls.map(bytes)), await Promise.all(urls.map((url) => fetch(url)))];
  let worst = 0;
  for (const source of sources) {
    const model = await load(source, { device });
    const { kind, architecture, embeddingLength, contextLength } = model.info;
    assert(kind === 'encoder' && architecture === 'bert' && embeddingLength === 24 && contextLength === 16, JSON.stringify(model.info));
    const got = await model.embed(texts);
    const plain = await model.embed(texts, { normalize: false, pooling: 'mean' });
    got.forEach((vector, i) => vector.forEach((x, j) => { worst = Math.max(worst, Math.abs(x - vectors[i][j]), Math.abs(plain[i][j] - mean[i][j]) / 8); }));
    const one = await model.embed(texts[3]);
    assert(one instanceof Float32Array && one.length === 24 && dot(one, vectors[3]) > 0.9999, 'one text alone');
    assert((await model.embed([])).length === 0, 'no texts');
    assert((await model.tokenize('the cat')).length === 2, 'tokenize');
    await model.close();
  }
  assert(worst < 5e-5, `off by ${worst}`);
  const model = await load(urls, { device });
  const kinds = [
    [model.embed([1]), 'invalid-input', 'array of strings'],
    [model.embed('a', { pooling: 'max' }), 'invalid-input', 'mean-sqrt'],
    [model.embed('a', { signal: AbortSignal.abort() }), 'cancelled', 'signal'],
    [model.chat([{ role: 'user', content: 'a' }]), 'invalid-input', 'embed()'],
    [model.run({}), 'invalid-input', 'embed()'],
    [load(urls.slice(2, 3), { device }), 'invalid-input', 'config.json is missing'],
    [load(urls.slice(0, 1), { device }), 'invalid-input', 'model.safetensors'],
  ];
  for (const [call, wanted, words] of kinds) {
    const error = await refusal(Promise.resolve(call));
    assert(error instanceof HomefireError && error.kind === wanted && error.message.includes(words), `${wanted}: ${error}`);
  }
  const many = Array.from({ length: 400 }, (_, i) => texts[i % texts.length].repeat(1 + (i % 3)));
  const stop = new AbortController();
  const cancelled = refusal(model.embed(many, { signal: stop.signal }));
  setTimeout(() => stop.abort(), 1);
  assert((await cancelled).kind === 'cancelled', 'cancelling amid batches');
  assert(dot(await model.embed(texts[4]), vectors[4]) > 0.9999, 'after a cancelled call');
  await model.close();
  return `off by ${worst.toExponential(1)} at most, on ${model.info.device.kind}`;
}

/** MiniLM's vectors are the reference runtime's. */
export async function minilm({ load }, { device }) {
  const files = ['config.json', 'tokenizer.json', 'safetensors'].map((name) => `/models/minilm.${name}`);
  const model = await load(files, { device });
  const { sentences } = await json('/reference/minilm.json');
  const got = await model.embed(sentences.map(({ text }) => text));
  const cosines = got.map((vector, i) => dot(vector, sentences[i].embedding));
  await model.close();
  assert(Math.min(...cosines) > 0.9999, `cosines ${cosines}`);
  assert(Math.abs(dot(got[0], sentences[1].embedding)) < 0.9, 'a canary: other sentences are other vectors');
  return `cosine ${Math.min(...cosines).toFixed(6)} at least, on ${model.info.device.kind}`;
}
