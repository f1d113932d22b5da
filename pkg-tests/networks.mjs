// What a consumer's page runs: networks (ONNX files) through run(), and the same through homefire/ort.
import { model as onnx } from './onnx/messages.mjs';

const assert = (yes, what) => {
  if (!yes) throw new Error(what);
};

/** The error that some work fails with. */
const refusal = async (work) => {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
};

/** The work fails with a HomefireError of that kind, whose message has all of the words. */
async function refuses(work, kind, ...words) {
  const error = await refusal(work);
  const missing = words.filter((word) => !error.message.includes(word));
  assert(error.name === 'HomefireError' && error.kind === kind && missing.length === 0, `not ${kind} with ${missing}: ${error.name} ${error.kind}: ${error.message}`);
}

const ARRAYS = { float32: Float32Array, int64: BigInt64Array };

/** A stored tensor as `run()` takes it. */
const tensorOf = ({ type, dims, data }) => ({ type, dims, data: ARRAYS[type].from(data, type === 'int64' ? BigInt : undefined) });

const same = (a, b) => a.length === b.length && Array.from(a).every((x, i) => Object.is(x, b[i]));

/** y = x + state, and the state is y: of any length. */
const counter = () =>
  onnx([['Add', ['x', 'state'], ['sum']], ['Identity', ['sum'], ['next']]], [['x', 'float32', ['n']], ['state', 'float32', ['n']]], [['sum', 'float32', ['n']], ['next', 'float32', ['n']]]);

/** Gives what it takes, of one type. */
const echo = (type, dims) => onnx([['Identity', ['x'], ['y']]], [['x', type, dims]], [['y', type, dims]]);

/** ONNX networks give what the reference runtime gave, in order. */
export async function networks({ load }, { tiny, device, wrong = false }) {
  const cases = await (await fetch('/onnx-data/networks.json')).json();
  let compared = 0;
  for (const [name, list] of Object.entries(cases)) {
    const model = await load(`/onnx-data/${name}.onnx`, { device });
    try {
      assert(model.info.kind === 'network' && model.info.inputs.length === 1, `info: ${JSON.stringify(model.info)}`);
      // All at once: they are queued.
      const runs = list.map(({ inputs }) => {
        const feeds = Object.fromEntries(Object.entries(inputs).map(([input, stored]) => [input, tensorOf(stored)]));
        return model.run(feeds).then((outputs) => ({ feeds, outputs }));
      });
      for (const [i, { feeds, outputs }] of (await Promise.all(runs)).entries()) {
        assert(Object.values(feeds).every(({ data }) => data.length > 0), 'the feeds were taken away');
        for (const [output, stored] of Object.entries(list[i].outputs)) {
          const want = tensorOf(stored);
          if (wrong) want.data[0] += typeof want.data[0] === 'bigint' ? 1n : 0.01;
          const got = outputs[output];
          assert(got.type === want.type && got.dims.join() === want.dims.join(), `${output}: ${got.type} ${got.dims}`);
          const far = got.data.findIndex((x, j) => !(Math.abs(Number(x) - Number(want.data[j])) < 1e-5));
          assert(far < 0, `${name}, ${output}: element ${far} is ${got.data[far]}, not ${want.data[far]}`);
          compared += want.data.length;
        }
      }
      assert((await model.profile()).nodes.length > 0, 'the profile is empty');
      await refuses(() => model.chat([{ role: 'user', content: 'Hello' }]), 'invalid-input', 'run()');
    } finally {
      await model.close();
    }
  }
  const language = await load(tiny, { device, contextLength: 64 });
  await refuses(() => language.run({ image: [] }), 'invalid-input', 'chat()');
  await language.close();
  const bytes = new Uint8Array(await (await fetch('/onnx-data/classifier.onnx')).arrayBuffer());
  await refuses(() => load(bytes.subarray(0, 900), { device }), 'format');
  return `${compared} elements`;
}

/** Errors name the input, what came and what is wanted, and list the inputs. */
export async function wrongInputs({ load, Tensor }, { device }) {
  const model = await load('/onnx-data/classifier.onnx', { device });
  const image = { type: 'float32', dims: [1, 3, 8, 8], data: new Float32Array(192) };
  const wants = ['image', 'Its only input is'];
  await refuses(() => model.run({ picture: image }), 'invalid-input', 'picture', ...wants);
  await refuses(() => model.run({ image: { ...image, dims: [3, 8, 8] } }), 'shape-mismatch', '[3, 8, 8]', '3 dimensions, not 4', ...wants);
  await refuses(() => model.run({ image: new Tensor('int32', new Int32Array(192), image.dims) }), 'shape-mismatch', 'int32', 'float32', ...wants);
  await refuses(() => model.run({}), 'invalid-input', 'image');
  await refuses(() => model.run({ image: { ...image, type: 'float64' } }), 'invalid-input', 'image', 'Float64Array', 'Float32Array');
  await refuses(() => model.run({ image: { ...image, dims: [1, 3, 8, 9] } }), 'shape-mismatch', 'image', '216', '192');
  await refuses(() => model.run({ image: { ...image, dims: [1, 3, 8, -8] } }), 'invalid-input', 'dims[3]');
  await refuses(() => model.run({ image: 'cat.png' }), 'invalid-input', 'image', 'string');
  await refuses(() => model.run({ image: { ...image, type: 'float128' } }), 'invalid-input', 'float128');
  await refuses(() => model.run({ image: new Float32Array(192) }), 'invalid-input', 'image', 'bare Float32Array of 192', 'float32 [');
  await refuses(() => model.run({ image }, { outputs: ['label'] }), 'invalid-input', 'label');
  await refuses(() => model.run({ image }, { outputs: ['logits'], keep: ['probabilities'] }), 'invalid-input', 'probabilities');
  await refuses(() => model.run({ image }, { signal: AbortSignal.abort() }), 'cancelled');
  await refuses(() => model.run(), 'invalid-input', 'undefined', 'The inputs are: image');
  await refuses(() => model.run({ image }, { output: ['logits'] }), 'invalid-input', '"output"', 'outputs');
  const { logits, ...others } = await model.run({ image }, { outputs: ['logits'] });
  assert(logits instanceof Tensor && logits.size === 4 && Object.keys(others).length === 0, 'the outputs are not the ones asked for');
  await model.close();
  await refuses(() => model.run({ image }), 'cancelled');
  const two = await load(counter(), { device });
  const x = (n) => Tensor.from(new Float32Array(n));
  await refuses(() => two.run({ x: x(2), state: x(3) }), 'shape-mismatch', "'state'", 'n is 3 here', "2 in 'x'", "'x' (float32 [n]), 'state' (float32 [n])");
  await refuses(() => two.run({ x: x(2) }), 'invalid-input', 'state', 'x');
  await two.close();
}

/** Buffers are moved where that was asked for and only there; cancelled runs do not hold up the others. */
export async function runs({ load, Tensor }, { device }) {
  const model = await load(counter(), { device });
  const big = new Float32Array(64).fill(1);
  // A part of a buffer: what is around it must not matter.
  const part = big.subarray(8, 12);
  const { sum } = await model.run({ x: part, state: new Float32Array([1, 2, 3, 4]) });
  assert(same(sum.data, [2, 3, 4, 5]) && part.length === 4 && sum.data.buffer.byteLength === 16, `a part of a buffer: ${sum.data}`);
  const moved = new Tensor('float32', new Float32Array([5, 6]), [2]);
  const after = await model.run({ x: moved, state: moved }, { transfer: true });
  assert(same(after.sum.data, [10, 12]) && moved.data.length === 0, `a moved buffer: ${after.sum.data}`);
  await refuses(() => model.run({ x: moved, state: moved }), 'shape-mismatch', '"x"', '2 elements', 'has 0');
  const stop = new AbortController();
  const long = Array.from({ length: 50 }, () => model.run({ x: big, state: big }, { signal: stop.signal }));
  const last = model.run({ x: big, state: big });
  stop.abort();
  const kinds = await Promise.all(long.map((run) => run.then(() => 'ran', (error) => error.kind)));
  assert(kinds.every((kind) => kind === 'cancelled'), `cancelled runs: ${kinds}`);
  assert((await last).sum.data[0] === 2, 'the run behind the cancelled ones');
  const empty = await model.run({ x: new Float32Array(0), state: new Float32Array(0) });
  assert(empty.sum.size === 0 && empty.sum.dims[0] === 0, 'no elements');
  // One after the other, as fast as they come: small and large, kept and cancelled ones among them.
  let state = new Float32Array(3);
  for (let round = 1; round <= 300; round++) {
    if (round % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    if (round % 20 === 0) {
      const stop = new AbortController();
      const cancelled = model.run({ x: new Float32Array(3), state }, { signal: stop.signal });
      stop.abort();
      await refuses(() => cancelled, 'cancelled');
    }
    if (round % 30 === 0) {
      const large = await model.run({ x: new Float32Array(20000).fill(round), state: new Float32Array(20000) });
      assert(large.sum.size === 20000 && large.sum.data.every((x) => x === round), `a large run in round ${round}`);
    }
    if (round % 40 === 0) await refuses(() => model.run({ x: state, state: part }), 'shape-mismatch', 'state');
    const keep = round % 3 === 0 ? ['next'] : [];
    const { sum, next } = await model.run({ x: Float32Array.of(1, 2, 3), state }, { keep });
    assert(same(sum.data, [round, 2 * round, 3 * round]) && same(sum.dims, [3]), `round ${round}: ${sum.data}`);
    assert(same(next.dims, [3]), `round ${round}: what was ${keep.length > 0 ? 'kept' : 'given'} has the dimensions [${next.dims}]`);
    state = keep.length > 0 ? next : next.data;
  }
  await model.close();
}

/** Does some work while it is written down what page and workers say to each other; what goes through shared memory is not. */
async function overheard(work) {
  const said = { page: [], workers: [] };
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (!said.page.includes(this)) this.addEventListener('message', ({ data }) => said.workers.push(data));
    said.page.push(message, this);
    return postMessage.call(this, message, ...rest);
  };
  try {
    return await work(said);
  } finally {
    Worker.prototype.postMessage = postMessage;
  }
}
const moment = (ms = 100) => new Promise((resolve) => setTimeout(resolve, ms));

/** A Response that never ends, and what becomes of it. */
function unending(first = new Uint8Array(0)) {
  const seen = { cancelled: false, response: undefined };
  let begun = false;
  seen.response = new Response(new ReadableStream({
    pull: (controller) => (begun ? new Promise(() => {}) : (begun = true, controller.enqueue(first))),
    cancel: () => { seen.cancelled = true; },
  }));
  return seen;
}

/** What is cancelled is answered too, once; nothing that it kept or read stays. */
export const cancelled = ({ load, Runtime }, { device, tiny }) => overheard(async (said) => {
  const runtime = new Runtime();
  const [model, language] = [await runtime.load(counter(), { device }), await runtime.load(tiny, { device: 'cpu', contextLength: 64 })];
  const x = new Float32Array(4000);
  await moment();
  const answers = () => said.workers.filter((event) => 'value' in event || 'error' in event);
  const before = answers().length;
  const stop = new AbortController();
  const { signal } = stop;
  const calls = Array.from({ length: 10 }, () => model.run({ x, state: x }, { keep: ['next'], outputs: ['next'], signal }));
  calls.push(language.complete([1, 2, 3], { maxTokens: 60, ignoreEos: true, signal }));
  stop.abort();
  for (const call of calls) await refuses(() => call, 'cancelled');
  const { sum } = await model.run({ x, state: x });
  assert(sum.size === 4000, 'the run behind cancelled ones');
  await language.complete([1], { maxTokens: 1 });
  await moment();
  const dropped = said.page.filter(({ call }) => call === 'drop').length;
  const kept = answers().filter(({ value }) => value?.[0]?.kept !== undefined).length;
  const late = answers().length - before;
  assert(kept > 0 && dropped === kept, `${dropped} of ${kept} kept outputs of cancelled runs were dropped`);
  assert(late === calls.length + 2 + dropped, `${late} answers to ${calls.length} cancelled calls, ${dropped} drops and 2 others`);
  // Loads: bytes that the page holds and that never come, alone and in a list.
  const { file, shift } = split();
  for (const list of [[], [{ name: 'model.onnx', data: file }, { name: 'model.onnx.data', data: shift }]]) {
    const source = unending();
    const halt = new AbortController();
    const loading = runtime.load([{ name: 'scale.bin', data: source.response }, ...list], { device, signal: halt.signal });
    const count = answers().length;
    await moment();
    halt.abort();
    await refuses(() => loading, 'cancelled');
    await moment();
    assert(source.cancelled, 'a Response is read on after its load was cancelled');
    const last = answers().slice(count);
    assert(last.length === 1 && last[0].error?.kind === 'cancelled', `a cancelled load was answered with ${JSON.stringify(last)}`);
  }
  // Loads that fail, or do not even begin, read no further either.
  const [broken, unread] = [unending(Uint8Array.from({ length: 64 }, () => 255)), unending()];
  await refuses(() => runtime.load(broken.response, { device }), 'format');
  await refuses(() => runtime.load([unread.response, 7], { device }), 'invalid-input');
  await moment();
  assert(broken.cancelled && unread.cancelled, 'a Response is read on after its load failed');
  const twice = unending().response;
  await refuses(() => runtime.load([twice, twice], { device }), 'fetch', 'given twice');
  const locked = new Response('x');
  locked.body.getReader();
  await refuses(() => load(locked, { device }), 'fetch', 'clone()');
  assert((await model.run({ x, state: x })).sum.size === 4000, 'the other model');
  await runtime.close();
});

/** Outputs that are kept are inputs of later runs, can be read, and are freed. */
export async function kept({ load, DeviceTensor }, { device }) {
  const model = await load(counter(), { device });
  const one = new Float32Array(1000).fill(1);
  let { next } = await model.run({ x: one, state: one }, { keep: ['next'], outputs: ['next'] });
  assert(next instanceof DeviceTensor && next.type === 'float32' && next.dims[0] === 1000 && next.size === 1000, 'what was kept');
  for (let round = 0; round < 20; round++) {
    const step = await model.run({ x: one, state: next }, { keep: ['next'] });
    assert(step.sum.data[999] === round + 3, `round ${round}: ${step.sum.data[999]}`);
    await next.close();
    ({ next } = step);
  }
  const read = await next.read();
  assert(read.data.every((x) => x === 22) && (await next.read()).data[0] === 22, `what was read: ${read.data[0]}`);
  const other = await load(counter(), { device });
  await refuses(() => other.run({ x: one, state: next }), 'invalid-input', '"state"', 'another model');
  await other.close();
  await next.close();
  await refuses(() => model.run({ x: one, state: next }), 'invalid-input', '"state"', 'closed');
  await refuses(() => next.read(), 'invalid-input', 'closed');
  await model.close();
}

/** What a Tensor takes and says. */
export async function tensors({ Tensor }) {
  const t = new Tensor('float32', new Float32Array(6), [2, 3]);
  assert(t.type === 'float32' && t.size === 6 && t.dims.join() === '2,3' && t.reshape([6]).dims.join() === '6', 'fields');
  assert(new Tensor('int64', [1n, 2n]).dims[0] === 2 && new Tensor('int64', [1, 2]).data[1] === 2n, 'bigints');
  assert(same(new Tensor('int8', [true, -128, 127n]).data, [1, -128, 127]) && same(new Tensor('float32', [NaN, true, 2n]).data, [NaN, 1, 2]), 'what a type can hold');
  assert(same(new Tensor('bool', [true, false]).data, [1, 0]) && new Tensor('float64', [2.5], []).size === 1, 'booleans, a scalar');
  const from = Tensor.from([[1, 2], [3, 4], [5, 6]]);
  assert(from.type === 'float32' && from.dims.join() === '3,2' && same(from.data, [1, 2, 3, 4, 5, 6]), 'nested numbers');
  for (const [values, type] of [[7, 'float32'], [[7n], 'int64'], [[true], 'bool'], ['a', 'string'], [new Uint8Array(2), 'uint8'], [new Uint8ClampedArray(2), 'uint8']]) {
    assert(Tensor.from(values).type === type, `${values} became ${Tensor.from(values).type}`);
  }
  assert(Tensor.from(new Float32Array(4), { dims: [2, 2] }).dims.length === 2 && Tensor.from([1, 2], { type: 'int8' }).data instanceof Int8Array, 'options');
  // Halves: every one of them survives, and numbers are rounded to the nearest even.
  const halves = new Tensor('float16', Uint16Array.from({ length: 65536 }, (_, i) => i));
  const numbers = halves.toFloat32();
  const back = new Tensor('float16', Array.from(numbers));
  const lost = back.data.findIndex((bits, i) => bits !== i && !Number.isNaN(numbers[i]));
  assert(lost < 0 && numbers[0x3c00] === 1 && numbers[1] === 2 ** -24 && numbers[0xfc00] === -Infinity, `half ${lost}`);
  assert(same(new Tensor('float16', [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25]).data, [0x3c00, 0x3c02, 0x7bff, 0x7c00, 0]), 'rounding');
  assert(same(new Tensor('bfloat16', [1, -2.5, 1 + 2 ** -8]).data, [0x3f80, 0xc020, 0x3f80]), 'bfloat16');
  if (globalThis.Float16Array) {
    const source = new Float16Array([1, -2]);
    const half = new Tensor('float16', source);
    assert(half.data instanceof Uint16Array && half.data.buffer === source.buffer && half.data[1] === 0xc000, 'Float16Array');
    assert(Tensor.from(source).type === 'float16' && same(Tensor.from(source, { type: 'float32' }).data, [1, -2]), 'Float16Array, inferred');
  }
  assert(same(new Tensor('float8e4m3fn', [0x7e, 0x7f, 0x01, 0x80]).toFloat32(), [448, NaN, 2 ** -9, -0]), 'float8');
  for (const [make, kind, ...words] of [
    [() => new Tensor('float', []), 'invalid-input', '"float"', 'float32'],
    [() => new Tensor('float32', new Float64Array(2)), 'invalid-input', 'Float32Array', 'Float64Array'],
    [() => new Tensor('float32', new Float32Array(2), [3]), 'shape-mismatch', '[3]', '3 elements', 'has 2'],
    [() => new Tensor('float32', new Float32Array(2), [2.5]), 'invalid-input', 'dims[0] is 2.5'],
    [() => new Tensor('float32', new Float32Array(2), 2), 'invalid-input', 'array of numbers'],
    [() => new Tensor('float32', undefined), 'invalid-input', 'undefined'],
    [() => new Tensor('float32', ['1']), 'invalid-input', 'Element 0'],
    [() => new Tensor('int64', [1.5]), 'invalid-input', 'Element 0', '1.5'],
    [() => new Tensor('string', new Uint8Array(1)), 'invalid-input', 'strings'],
    [() => new Tensor('string', ['a', , 'b']), 'invalid-input', 'strings'],
    [() => new Tensor('float32', [[1, 2], [3, 4]]), 'invalid-input', 'Element 0', 'float32', 'Tensor.from()'],
    [() => new Tensor('float32', [1, {}]), 'invalid-input', 'Element 1', 'Object'],
    [() => new Tensor('int32', [0, 1.5]), 'invalid-input', 'Element 1', 'int32', '1.5'],
    [() => new Tensor('int8', [300]), 'invalid-input', 'Element 0', 'int8', '300'],
    [() => new Tensor('uint8', [-1]), 'invalid-input', 'uint8', '-1'],
    [() => new Tensor('int32', [NaN]), 'invalid-input', 'int32', 'NaN'],
    [() => new Tensor('bool', [2]), 'invalid-input', 'bool', '2'],
    [() => new Tensor('int4', [8]), 'invalid-input', 'int4', '8'],
    [() => new Tensor('float8e8m0', [256]), 'invalid-input', 'float8e8m0', '256'],
    [() => new Tensor('int64', [2n ** 63n]), 'invalid-input', 'int64', '9223372036854775808'],
    [() => Tensor.from(new Float32Array([0.5]), { type: 'int32' }), 'invalid-input', 'Element 0', 'int32', '0.5'],
    [() => Tensor.from([[1, 2], [3]]), 'shape-mismatch', '[2, 2]'],
    [() => Tensor.from([1, 2n]), 'invalid-input', 'several types'],
    [() => Tensor.from([]), 'invalid-input', 'type'],
  ]) await refuses(make, kind, ...words);
}

/** `info.device` says where the first run left a network that was loaded for the GPU if that is there. */
export async function deviceMoves({ load }) {
  const model = await load(counter(), { device: 'auto' });
  assert(model.info.device.kind === 'webgpu', JSON.stringify(model.info.device));
  const x = new Float32Array([1]);
  await model.run({ x, state: x });
  const [{ kind, reason, workers }, { device }] = [model.info.device, await model.profile()];
  assert(/first run took/.test(reason) && kind === device.kind && workers === 1, `${kind}: ${reason}; the profile says ${device.kind}`);
  await model.close();
  return `${kind}: ${reason}`;
}

/** Values of every type go through a model and come back as they were. */
export async function types({ load, Tensor, Runtime }, { device }) {
  const runtime = new Runtime();
  const samples = {
    float32: [1.5, -0, Infinity], float64: [Math.PI], float16: [0.5, -2], bfloat16: [1.5], int8: [-128, 127], int16: [-32768], int32: [-(2 ** 31)],
    int64: [-(2n ** 63n), 2n ** 63n - 1n], uint8: [255], uint16: [65535], uint32: [2 ** 32 - 1], uint64: [2n ** 64n - 1n], bool: [true, false],
    string: ['', 'ß', '\u{1F600}'], int4: [-8, 7], uint4: [15], int2: [-2, 1], uint2: [3], float8e4m3fn: [0x7e], float8e4m3fnuz: [0x80],
    float8e5m2: [0x7b], float8e5m2fnuz: [1], float8e8m0: [127], float4e2m1: [7],
  };
  for (const [type, values] of Object.entries(samples)) {
    const model = await runtime.load(echo(type, ['n']), { device });
    const x = new Tensor(type, values);
    const { y } = await model.run({ x });
    assert(y.type === type && y.data.constructor === x.data.constructor && same(y.data, x.data), `${type}: ${y.data}, not ${x.data}`);
    if (type !== 'string') assert((await model.run({ x: x.data })).y.size === x.size, `${type}, bare`);
    await model.close();
  }
  const told = `${Object.keys(samples).length} types`;
  const model = await runtime.load(echo({ sequence: 'float32' }), { device }).catch((error) => error);
  // Until the importer takes them, they are refused at load.
  if (/^unsupported/.test(model.kind)) return runtime.close().then(() => `${told}; sequences: ${model.message}`);
  assert(model.info.inputs[0].kind === 'sequence', JSON.stringify(model.info.inputs));
  const { y } = await model.run({ x: [Tensor.from([1, 2]), Tensor.from([[3]])] });
  assert(y.length === 2 && same(y[0].data, [1, 2]) && y[1].dims.join() === '1,1', JSON.stringify(y));
  assert((await model.run({ x: [] })).y.length === 0, 'an empty sequence');
  await runtime.close();
  return `${told} and sequences`;
}

/** y = x·scale + shift, of tensors in two other files, and the bytes of these. */
function split() {
  const data = [['scale', 'float32', [2], '../weights/scale.bin', 4, 8], ['shift', 'float32', [2], 'model.onnx.data', 0, 8]];
  const nodes = [['Mul', ['x', 'scale'], ['scaled']], ['Add', ['scaled', 'shift'], ['y']]];
  const file = onnx(nodes, [['x', 'float32', [2]]], [['y', 'float32', [2]]], { data });
  const bytes = (...numbers) => new Uint8Array(Float32Array.from(numbers).buffer);
  // The first begins as an ONNX file may.
  return { file, scale: Uint8Array.of(8, 0, 0, 0, ...bytes(10, 100), 7), shift: bytes(1, 2) };
}

/** Models whose tensors lie in other files: in any order, from everything that bytes may come from. */
export async function dataFiles({ load, Runtime, ort }, { device }) {
  const { file, scale, shift } = split();
  const runtime = new Runtime();
  const named = (name, bytes) => new File([bytes], name);
  const address = (bytes) => URL.createObjectURL(new Blob([bytes]));
  const lists = {
    files: [named('scale.bin', scale), named('model.onnx.data', shift), named('model.onnx', file)],
    names: [{ name: 'weights/scale.bin', data: scale }, { name: 'model.onnx', data: file }, { name: 'model.onnx.data', data: new Blob([shift]) }],
    'no name for the model': [file, { name: 'model.onnx.data', data: shift.slice().buffer }, { name: 'scale.bin', data: new Response(scale) }],
    'the model last, without a name': [{ name: 'model.onnx.data', data: shift }, { name: 'scale.bin', data: address(scale) }, file],
    addresses: [address(file), { name: 'scale.bin', data: address(scale) }, { name: 'model.onnx.data', data: address(shift) }],
    'one too many': [{ name: 'notes.txt', data: new Uint8Array(3) }, named('model.onnx', file), named('scale.bin', scale), named('model.onnx.data', shift)],
  };
  for (const [what, list] of Object.entries(lists)) {
    const steps = [];
    const model = await runtime.load(list, { device, onProgress: (step) => steps.push(step) });
    const { y } = await model.run({ x: new Float32Array([3, 4]) });
    assert(same(y.data, [31, 402]), `${what}: ${y.data}`);
    assert(steps.at(-1).loadedBytes === file.length + scale.length + shift.length, `${what}: ${JSON.stringify(steps.at(-1))}`);
    await model.close();
  }
  const wants = ["'../weights/scale.bin'", '["model.onnx", "scale.bin", "model.onnx.data"]'];
  await refuses(() => load(file, { device }), 'invalid-input', "'model.onnx.data'", ...wants);
  await refuses(() => runtime.load([file, named('model.onnx.data', shift), named('scales.bin', scale)], { device }), 'invalid-input', "'scales.bin'", ...wants);
  await refuses(() => runtime.load([file, shift, scale], { device }), 'invalid-input', '{ name, data }');
  await refuses(() => runtime.load([named('a.onnx', file), named('b.onnx', file)], { device }), 'invalid-input', 'b.onnx');
  await refuses(() => runtime.load([file, named('scale.bin', scale.subarray(0, 9)), named('model.onnx.data', shift)], { device }), 'format', '9 bytes');
  await refuses(() => runtime.load([file, { name: '', data: shift }], { device }), 'invalid-input', 'name');
  await refuses(() => runtime.load([shift, scale], { device }), 'format');
  await runtime.close();
  const externalData = [{ path: '../weights/scale.bin', data: scale }, { path: 'model.onnx.data', data: new Blob([shift]) }];
  const session = await ort.InferenceSession.create(file, { externalData, executionProviders: [device === 'webgpu' ? 'webgpu' : 'wasm'] });
  const { y } = await session.run({ x: new ort.Tensor('float32', [3, 4], [2]) });
  assert(same(y.data, [31, 402]), `homefire/ort: ${y.data}`);
  await session.release();
  return `${Object.keys(lists).length} ways to give the files`;
}

/** A loop without an end can be left, and holds up no other model. */
export async function endless({ Runtime, Tensor }, { device }) {
  const runtime = new Runtime();
  const [eternal, other] = [await runtime.load('/onnx-data/flow/eternal.onnx', { device }), await runtime.load(counter(), { device })];
  const feeds = (more) => ({ x: new Float32Array([1, 2]), more: new Tensor('bool', [more], []) });
  const stop = new AbortController();
  const run = eternal.run(feeds(true), { signal: stop.signal });
  const one = new Float32Array([1]);
  assert((await other.run({ x: one, state: one })).sum.data[0] === 2, 'another model meanwhile');
  const behind = eternal.run(feeds(false));
  stop.abort();
  await refuses(() => run, 'cancelled');
  assert(same((await behind).y.data, [1, 2]), 'the run behind it');
  const last = eternal.run(feeds(true));
  const left = refuses(() => last, 'cancelled');
  await eternal.close();
  await left;
  assert((await other.run({ x: one, state: one })).sum.data[0] === 2, 'after the model was closed');
  await runtime.close();
}

/** Several models in one worker: they do not disturb each other, and one that is closed is gone alone. */
export async function runtimes({ Runtime }, { device, tiny }) {
  const runtime = new Runtime();
  const workers = performance.getEntriesByType('resource').filter(({ name }) => /worker\.js/.test(name)).length;
  const [a, b, language] = await Promise.all([
    runtime.load(counter(), { device }),
    runtime.load('/onnx-data/classifier.onnx', { device }),
    runtime.load(tiny, { device: 'cpu', contextLength: 64 }),
  ]);
  const started = performance.getEntriesByType('resource').filter(({ name }) => /worker\.js/.test(name)).length - workers;
  assert(started <= 1, `${started} workers were started`);
  const one = new Float32Array([1]);
  const image = { type: 'float32', dims: [1, 3, 8, 8], data: new Float32Array(192) };
  const generations = [1, 2].map(() => language.complete([1, 2, 3], { maxTokens: 8, ignoreEos: true, temperature: 0 }));
  const [sums, labels, first, second] = await Promise.all([a.run({ x: one, state: one }), b.run({ image }), ...generations]);
  assert(sums.sum.data[0] === 2 && labels.logits.size === 4 && first.ids.join() === second.ids.join(), 'together');
  const stop = new AbortController();
  const pending = a.run({ x: one, state: one });
  await Promise.all([b.close(), pending]);
  await refuses(() => b.run({ image }), 'cancelled');
  assert((await a.run({ x: one, state: one })).sum.data[0] === 2, 'after the other was closed');
  await refuses(() => runtime.load('/onnx-data/classifier.onnx', { device, signal: stop.signal, onProgress: () => stop.abort() }), 'cancelled');
  await refuses(() => runtime.load(new Uint8Array(64), { device }), 'format');
  assert((await a.run({ x: one, state: one })).sum.data[0] === 2, 'after loads that failed');
  await runtime.close();
  await refuses(() => a.run({ x: one, state: one }), 'cancelled');
  await refuses(() => runtime.load('/onnx-data/classifier.onnx'), 'cancelled');
}
