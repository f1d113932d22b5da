// What a consumer's page runs: `smoke` in every consumer, `full` in the plain one. Each check throws when it
// fails; the runner collects the names. The package comes as an argument, as each consumer imports it its own way.
const ask = [{ role: 'user', content: 'What is the capital of France?' }];
const short = { maxTokens: 12, temperature: 0 };

function assert(condition, what) {
  if (!condition) throw new Error(what);
}

async function kindOf(promise) {
  try {
    await promise;
  } catch (error) {
    assert(error.name === 'HomefireError', `not a HomefireError: ${error}`);
    assert(error.message.length > 20, `a message that says too little: ${error.message}`);
    return error.kind;
  }
  return 'no error';
}

export async function smoke({ load }, { url, device }) {
  const model = await load(url, { device, contextLength: 512 });
  try {
    const pieces = [];
    const answer = model.chat(ask, short);
    for await (const piece of answer) pieces.push(piece.text);
    const { text, usage } = await answer;
    assert(usage.promptTokens === 37, `the template gave ${usage.promptTokens} tokens, not the reference's 37`);
    assert(pieces.length > 1, `only ${pieces.length} pieces came: the answer is not streamed`);
    assert(text === pieces.join(''), 'the pieces do not make the text');
    const known = await model.complete('The capital of France is', short);
    assert(known.text.startsWith(' Paris.'), `the answer is wrong: ${known.text}`);
    return { text: known.text, info: model.info };
  } finally {
    await model.close();
  }
}

/** A small model on the GPU says what it says on the CPU, with no thread beside it. */
export async function gpu({ load }, { tiny }) {
  const exact = { exact: true, contextLength: 64 };
  const greedy = { maxTokens: 6, temperature: 0, ignoreEos: true };
  const tokens = Uint32Array.from({ length: 23 }, (_, i) => (i * 37 + 11) % 250);
  const ids = async (device, options) => {
    const model = await load(tiny, { ...exact, device });
    try {
      assert(model.info.device.kind === device, `it runs on ${model.info.device.kind}: ${model.info.device.reason}`);
      assert(device === 'cpu' || model.info.device.threads === 1, `${model.info.device.threads} threads beside the GPU`);
      return (await model.complete(tokens, options)).ids.join();
    } finally {
      await model.close();
    }
  };
  for (const options of [
    { ...greedy, maxTokens: 30 },
    { ...greedy, maxTokens: 20, temperature: 0.9, seed: 5, topK: 20, repetitionPenalty: 1.2 },
  ]) {
    const [gpu, cpu] = [await ids('webgpu', options), await ids('cpu', options)];
    assert(gpu === cpu, `${JSON.stringify(options)}: ${gpu} on the GPU, ${cpu} on the CPU`);
  }
  const model = await load(tiny, { device: 'webgpu', contextLength: 64 });
  const asked = [model.complete(tokens, greedy), model.complete(tokens, greedy)];
  for await (const _ of model.complete(tokens, { ...greedy, maxTokens: 40 })) break;
  const [first, second] = await Promise.all(asked);
  assert(first.ids.join() === second.ids.join(), 'two queued generations differ');
  await model.close();
}

/** Loads a small model, has it answer, and closes it unless told not to, so many times. */
export async function rounds({ load }, { tiny, device, n, close }) {
  for (let round = 0; round < n; round++) {
    const model = await load(tiny, { device, contextLength: 64 });
    await model.complete([1, 2, 3], { maxTokens: 4, ignoreEos: true });
    if (close) await model.close();
  }
}

export async function full({ load, HomefireError }, { url, device, only }) {
  const passed = [];
  const failed = [];
  const check = async (name, work) => {
    if (!`api: ${name}`.includes(only)) return;
    try {
      await work();
      passed.push(name);
    } catch (error) {
      failed.push(`${name}: ${error?.stack ?? error}`);
    }
  };
  const seen = [];
  const options = { device, contextLength: 512 };
  const model = await load(url, { ...options, onProgress: (p) => seen.push(p) });
  await check('progress', () => {
    assert(seen.length > 3, `only ${seen.length} reports`);
    assert(seen.every((p, i) => i === 0 || p.loadedBytes >= seen[i - 1].loadedBytes), 'it went back');
    assert(seen.some((p) => /weight/.test(p.tensor)), 'no report names a tensor');
    const last = seen.at(-1);
    assert(last.phase === 'ready' && last.loadedBytes === last.totalBytes, `the last is ${JSON.stringify(last)}`);
  });
  await check('info', () => {
    assert(model.info.architecture === 'llama', `architecture ${model.info.architecture}`);
    assert(model.info.contextLength === 512, `contextLength ${model.info.contextLength}`);
    assert(model.info.device.reason && model.info.device.kind === 'cpu', JSON.stringify(model.info.device));
  });
  const resources = performance.getEntriesByType('resource').length;
  await check('await alone', async () => {
    const result = await model.complete('The capital of France is', short);
    assert(result.text.startsWith(' Paris.'), result.text);
    assert(result.usage.completionTokens === result.ids.length, JSON.stringify(result.usage));
    assert(result.timings.decodeTokensPerSecond > 0, JSON.stringify(result.timings));
  });
  await check('queue', async () => {
    const [a, b] = await Promise.all([model.chat(ask, short), model.chat(ask, short)]);
    assert(a.text === b.text, `mixed up: ${a.text} / ${b.text}`);
  });
  await check('cancel by signal', async () => {
    const stop = new AbortController();
    const answer = model.complete('Once upon a time', { maxTokens: 400, signal: stop.signal });
    let pieces = 0;
    const kind = await kindOf((async () => {
      for await (const _ of answer) if (++pieces === 3) stop.abort();
    })());
    assert(kind === 'cancelled' && pieces === 3, `${kind} after ${pieces} pieces`);
    assert((await kindOf(answer)) === 'cancelled', 'awaiting it did not reject');
  });
  await check('cancel by break', async () => {
    const answer = model.complete('Once upon a time', { maxTokens: 400 });
    for await (const _ of answer) break;
    assert((await answer).finishReason === 'cancelled', 'finishReason');
    // One that had to wait: its times are its own.
    const [before, queued] = [model.complete('Once', { maxTokens: 30, ignoreEos: true }), model.complete('Once upon a time', { maxTokens: 400, ignoreEos: true })];
    let [from, pieces] = [0, 0];
    for await (const _ of queued) {
      from ||= performance.now();
      if (++pieces === 3) break;
    }
    const most = performance.now() - from + 1;
    const { ids, usage, timings } = await queued;
    assert(usage.completionTokens === ids.length && ids.length >= 3, JSON.stringify(usage));
    assert(timings.firstTokenMs > 0 && timings.decodeMs > 0 && timings.decodeMs <= most && timings.decodeTokensPerSecond > 0, `${JSON.stringify(timings)} in ${most} ms`);
    assert((await before).ids.length === 30, 'the answer before it');
    const start = performance.now();
    await model.complete('Hi', { maxTokens: 1 });
    assert(performance.now() - start < 5000, 'the next answer waited for the cancelled one');
  });
  await check('tokens', async () => {
    const text = 'Naïve café 🙂 <|im_end|>';
    const ids = await model.tokenize(text);
    assert((await model.detokenize(ids)) === text, await model.detokenize(ids));
    assert((await model.tokenize(text, { special: false })).length > ids.length, 'special tokens');
  });
  await check('a seed repeats', async () => {
    const draw = () => model.complete('The', { maxTokens: 12, temperature: 1, seed: 7 });
    const [a, b] = [await draw(), await draw()];
    assert(a.text === b.text, `${a.text} / ${b.text}`);
  });
  await check('drafts change no token', async () => {
    const text = 'a red fox, a blue hen, a red fox, a blue hen, a red fox, a';
    const options = { temperature: 0, ignoreEos: true };
    const { ids, usage } = await model.complete(text, { ...options, maxTokens: 24 });
    assert(usage.draftedTokens > 0 && usage.draftedTokens < 24, JSON.stringify(usage));
    const all = [...(await model.tokenize(text))];
    for (const id of ids) {
      // Of one token there is no draft.
      const { ids: [alone], usage } = await model.complete(all, { ...options, maxTokens: 1 });
      assert(alone === id && usage.draftedTokens === 0, `${alone} alone, ${id} with drafts, after ${all}`);
      all.push(id);
    }
  });
  await check('errors', async () => {
    assert((await kindOf(load('/missing.gguf', options))) === 'fetch', 'a missing file');
    assert((await kindOf(load(new Uint8Array(4096), options))) === 'format', 'bytes of no model');
    assert((await kindOf(load('/x', { device: 'quantum' }))) === 'invalid-input', 'an unknown device');
    assert((await kindOf(model.complete('x', { topP: 'much' }))) === 'invalid-input', 'a wrong option');
    assert((await kindOf(model.complete('word '.repeat(900)))) === 'context-full', 'a long prompt');
    assert(new HomefireError('internal', 'x') instanceof Error, 'HomefireError');
  });
  await check('a score is cancelled', async () => {
    const ids = Uint32Array.from({ length: 500 }, (_, i) => (i * 37 + 11) % 40_000);
    const stop = new AbortController();
    const scoring = model.score(ids, { signal: stop.signal });
    setTimeout(() => stop.abort(), 20);
    assert((await kindOf(scoring)) === 'cancelled', 'kind');
    assert((await kindOf(model.score(ids, { signal: AbortSignal.abort() }))) === 'cancelled', 'a signal that is aborted');
    assert((await model.score([1, 2, 3])).logprobs.length === 2, 'the score after it');
  });
  await check('unknown options', async () => {
    const attempts = {
      load: (options) => load(url, options), chat: (options) => model.chat(ask, options), complete: (options) => model.complete('x', options),
      score: (options) => model.score('x y', options), embed: (options) => model.embed('x', options),
      tokenize: (options) => model.tokenize('x', options), applyChatTemplate: (options) => model.applyChatTemplate(ask, options),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      const error = await Promise.resolve(attempt({ sginal: 1 })).then(() => null, (e) => e);
      assert(error?.kind === 'invalid-input' && error.message.startsWith(`${name}() has no option "sginal"; its options are`), `${name}: ${error}`);
    }
    assert((await model.complete('x', { maxTokens: 1, max_tokens: undefined })).ids.length === 1, 'one that is undefined');
    assert((await kindOf(load(url, { network: 'off' }))) === 'invalid-input', 'network');
  });
  await check('what is no conversation', async () => {
    const user = (content) => [{ role: 'user', content }];
    for (const [messages, words] of [
      ['Hi', 'messages is "Hi"'], [undefined, 'messages is undefined'], [[7], 'messages[0] is 7'], [[{ content: 'x' }], 'messages[0] is'],
      [user(), 'messages[0].content is undefined'], [user([{ type: 'image_url' }]), 'messages[0].content[0] is {"type":"image_url"}'],
    ]) {
      const answer = model.chat(messages, short);
      const error = await answer.then(() => null, (e) => e);
      assert(error?.kind === 'invalid-input' && error.message.includes(words), `${JSON.stringify(messages)}: ${error}`);
    }
    const [whole, parts] = [user('What is it?'), user([{ type: 'text', text: 'What ' }, { type: 'text', text: 'is it?' }])];
    assert((await model.chat(parts, short)).text === (await model.chat(whole, short)).text, 'parts of a text');
    for (const prompt of [7, ['x'], [1.5], [NaN], [, 1], [-1], [2 ** 32], [1n], new BigInt64Array(2), new DataView(new ArrayBuffer(4))]) {
      assert((await kindOf(model.complete(prompt, short))) === 'invalid-input', `a prompt: ${prompt}`);
      assert((await kindOf(model.score(prompt))) === 'invalid-input', `to be scored: ${prompt}`);
    }
  });
  await check('the chat template', async () => {
    const text = await model.applyChatTemplate(ask);
    assert(/<\|im_start\|>user\nWhat is the capital of France\?<\|im_end\|>/.test(text), text);
    const [{ length }, { usage }] = [await model.tokenize(text), await model.chat(ask, { maxTokens: 1 })];
    assert(length === usage.promptTokens, `${length} tokens, ${usage.promptTokens} in the prompt`);
    const own = '{% if tools %}{{ tools[0].name }}{% endif %}{{ messages[0].content }}{% if enable_thinking is false %}!{% endif %}';
    const other = await load(url, { ...options, chatTemplate: own });
    const said = await other.applyChatTemplate(ask, { templateVariables: { enable_thinking: false, tools: [{ name: 'clock' }] } });
    assert(said === `clock${ask[0].content}!`, said);
    const tokens = async (templateVariables) => (await other.chat(ask, { maxTokens: 1, templateVariables })).usage.promptTokens;
    assert((await tokens({ tools: [{ name: 'clock' }] })) > (await tokens()), 'chat() does not pass them on');
    const cycle = {};
    cycle.self = cycle;
    for (const templateVariables of [{ messages: [] }, { add_generation_prompt: false }, { bos_token: 'x' }, [], { f: () => {} }, { cycle }, { n: 1n }]) {
      assert((await kindOf(other.chat(ask, { templateVariables }))) === 'invalid-input', Object.keys(templateVariables)[0]);
    }
    await other.close();
    const tools = '{% for m in messages %}{{ m.role }}:{% if m.content is none %}calls {{ m.tool_calls[0].name }}{% elif m.content is mapping %}{{ m.content | tojson }}{% else %}{{ m.content }}{% endif %};{% endfor %}';
    const third = await load(url, { ...options, chatTemplate: tools });
    class Own { get role() { return 'user'; } get content() { return 'hi'; } }
    const toldTools = await third.applyChatTemplate([new Own(), { role: 'assistant', content: null, tool_calls: [{ name: 'clock' }] }, { role: 'tool', content: { hour: 9 } }]);
    assert(toldTools === 'user:hi;assistant:calls clock;tool:{"hour": 9};', toldTools);
    await third.close();
  });
  await check('no request after load', async () => {
    const now = performance.getEntriesByType('resource').filter((e) => !/missing|worker\.js|\.wasm/.test(e.name));
    assert(now.length <= resources, `requests: ${now.slice(resources).map((e) => e.name)}`);
  });
  await check('abort a load', async () => {
    const stop = new AbortController();
    const loading = load(url, { ...options, signal: stop.signal, onProgress: () => stop.abort() });
    assert((await kindOf(loading)) === 'cancelled', 'kind');
  });
  await check('network none, Blob, second model', async () => {
    const blob = await (await fetch(url)).blob();
    assert((await kindOf(load(url, { ...options, network: 'none' }))) === 'fetch', 'a URL was not refused');
    const second = await load(blob, { ...options, network: 'none' });
    const [a, b] = await Promise.all([model.chat(ask, short), second.chat(ask, short)]);
    assert(a.text === b.text, `${a.text} / ${b.text}`);
    await second.close();
    assert((await kindOf(second.chat(ask))) === 'cancelled', 'a closed model answers');
  });
  await check('Response, own template', async () => {
    const third = await load(await fetch(url), { ...options, chatTemplate: '{{ messages[0].content }}' });
    assert((await third.chat([{ role: 'user', content: 'Hi' }], { maxTokens: 2 })).usage.promptTokens < 5, 'template');
    await third.close();
    const endless = '{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}';
    const hostile = await load(url, { ...options, chatTemplate: endless });
    assert((await kindOf(hostile.chat(ask))) === 'invalid-input', 'an endless template ran');
    await hostile.close();
  });
  await model.close();
  await check('the page never blocks', async () => {
    // A machine that others use delays the page at times; what blocks by itself does so in every round.
    const rounds = [];
    for (let round = 0; round < 4; round++) {
      const long = [];
      const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map((e) => e.duration)));
      observer.observe({ type: 'longtask' });
      const again = await load(url, options);
      await again.chat(ask, { maxTokens: 40 });
      await again.close();
      await new Promise((done) => setTimeout(done, 50));
      observer.disconnect();
      if (long.every((ms) => ms <= 50)) return;
      rounds.push(`${long} ms`);
    }
    throw new Error(`long tasks in every round: ${rounds.join('; ')}`);
  });
  return { passed, failed };
}

/** A GGUF file cut into three shards as `llama-gguf-split --no-tensor-first-split` makes them: Uint8Arrays. */
function split(file) {
  const view = new DataView(file);
  const text = new TextDecoder();
  let at = 8;
  const u32 = () => view.getUint32((at += 4) - 4, true);
  const u64 = () => Number(view.getBigUint64((at += 8) - 8, true));
  const string = () => {
    const length = u64();
    return text.decode(new Uint8Array(file, (at += length) - length, length));
  };
  const sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
  const skip = (kind) => {
    if (kind === 8) string();
    else if (kind === 9) for (let inner = u32(), count = u64(); count > 0; count--) skip(inner);
    else at += sizes[kind];
  };
  const [nTensors, nMetadata] = [u64(), u64()];
  for (let i = 0; i < nMetadata; i++) string(), skip(u32());
  const metadata = new Uint8Array(file, 24, at - 24);
  const tensors = Array.from({ length: nTensors }, () => {
    const start = at;
    string();
    const rank = u32();
    at += 8 * rank + 4;
    return { head: new Uint8Array(file, start, at - start), offset: u64() };
  });
  const data = Math.ceil(at / 32) * 32;
  tensors.forEach((tensor, i) => {
    const end = i + 1 < nTensors ? tensors[i + 1].offset : file.byteLength - data;
    tensor.bytes = new Uint8Array(file, data + tensor.offset, end - tensor.offset);
  });
  const number = (value, bytes) => new Uint8Array(new BigUint64Array([BigInt(value)]).buffer, 0, bytes);
  const key = (name, kind, value, bytes) =>
    [number(name.length, 8), new TextEncoder().encode(name), number(kind, 4), number(value, bytes)];
  return [tensors.slice(0, 0), tensors.slice(0, 9), tensors.slice(9)].map((part, i) => {
    const out = [
      new TextEncoder().encode('GGUF'), number(3, 4), number(part.length, 8), number(3 + (i ? 0 : nMetadata), 8),
      ...key('split.no', 2, i, 2), ...key('split.count', 2, 3, 2), ...key('split.tensors.count', 5, nTensors, 4),
      ...(i ? [] : [metadata]),
    ];
    let offset = 0;
    for (const { head, bytes } of part) {
      out.push(head, number(offset, 8));
      offset += bytes.length;
    }
    const head = out.reduce((sum, piece) => sum + piece.length, 0);
    out.push(new Uint8Array(Math.ceil(head / 32) * 32 - head), ...part.map(({ bytes }) => bytes));
    const shard = new Uint8Array(out.reduce((sum, piece) => sum + piece.length, 0));
    out.reduce((end, piece) => (shard.set(piece, end), end + piece.length), 0);
    return shard;
  });
}

export async function shards({ load }, { tiny, device }) {
  const answer = async (source) => {
    const seen = [];
    const model = await load(source, { device, contextLength: 64, onProgress: (p) => seen.push(p) });
    try {
      const last = seen.at(-1);
      // A Response without a length is as long as its header says, less the padding at its end.
      const over = last.loadedBytes - last.totalBytes;
      assert(over >= 0 && over < 32, `the last report is ${JSON.stringify(last)}`);
      return (await model.complete('hello the', { maxTokens: 8, temperature: 0 })).ids.join();
    } finally {
      await model.close();
    }
  };
  const want = await answer(tiny);
  const parts = split(await (await fetch(tiny)).arrayBuffer());
  const kinds = { bytes: parts, blobs: parts.map((part) => new Blob([part])), responses: parts.map((part) => new Response(part)) };
  for (const [kind, source] of Object.entries(kinds)) {
    const got = await answer(source);
    assert(got === want, `${kind}: ${got}, not ${want}`);
  }
  const [first, second, third] = parts;
  for (const [source, what] of [[[first, third, second], 'shard 3'], [[first, second], '00003-of-00003'], [first, '00002-of-00003']]) {
    const error = await answer(source).catch((e) => e);
    assert(error.kind === 'invalid-input' && error.message.includes(what), `not the expected error: ${error}`);
  }
  return `${parts.length} shards as ${Object.keys(kinds).join(', ')}`;
}
