// What a consumer's page runs: code written for onnxruntime-web, on any package with its interface.
import { model as onnx } from './onnx/messages.mjs';

const assert = (yes, what) => {
  if (!yes) throw new Error(what);
};
const threw = async (work) => {
  try {
    await work();
    return null;
  } catch (error) {
    return error;
  }
};
const plain = ({ type, dims, data, size, location }) => ({ type, dims: [...dims], size, location, data: Array.from(data, (x) => (typeof x === 'bigint' ? `${x}n` : x)), array: data.constructor.name });

/** Snippets as they stand in guides and applications; each gives what can be compared between packages. */
export const snippets = {
  async tensors(ort) {
    const made = [
      new ort.Tensor('float32', [1, 2.5, 3, 4], [2, 2]),
      new ort.Tensor('float32', Float32Array.from([1, 2, 3]), [3]),
      new ort.Tensor(new Float64Array(2), [1, 2]),
      new ort.Tensor(new Int8Array(3)),
      new ort.Tensor([true, false, true], [3, 1]),
      new ort.Tensor(['a', 'b'], [2]),
      new ort.Tensor('string', ['x'], []),
      new ort.Tensor('int64', [1, 2n, -3], [3]),
      new ort.Tensor('uint64', new BigUint64Array([2n ** 64n - 1n]), [1]),
      new ort.Tensor('bool', [1, 0], [2]),
      new ort.Tensor('uint8', new Uint8ClampedArray([1, 300]), [2]),
      new ort.Tensor(new Uint8ClampedArray([7])),
      new ort.Tensor('float16', new Uint16Array([0x3c00, 0xc000]), [2]),
      new ort.Tensor('int4', new Uint8Array([0x7f]), [2]),
      new ort.Tensor('float32', [], [0, 3]),
    ];
    const reshaped = made[0].reshape([4]);
    const disposed = new ort.Tensor(new Float32Array(1));
    disposed.dispose();
    return [...made.map(plain), plain(reshaped), (await made[1].getData()) === made[1].data, disposed.location, (await threw(() => disposed.data)) !== null];
  },

  async refusals(ort) {
    const attempts = [
      () => new ort.Tensor('float32', new Float64Array(1)), () => new ort.Tensor('float32', [1, 2], [3]), () => new ort.Tensor([], [0]),
      () => new ort.Tensor([1, 2], [2]), () => new ort.Tensor('complex', [1]), () => new ort.Tensor('int4', [1, 2], [2]),
      () => new ort.Tensor('float32', [1], [1.5]), () => new ort.Tensor('float32', [1], [-1]), () => new ort.Tensor('string', new Uint8Array(1)),
      () => new ort.Tensor(new Float32Array(1), 1),
    ];
    return Promise.all(attempts.map(async (attempt) => (await threw(attempt))?.name ?? 'taken'));
  },

  async classify(ort) {
    const session = await ort.InferenceSession.create('/onnx-data/classifier.onnx', { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
    const pixels = Float32Array.from({ length: 360 }, (_, i) => Math.sin(i));
    const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', pixels, [1, 3, 12, 10]) };
    const results = await session.run(feeds);
    const some = await session.run(feeds, ['logits']);
    const chosen = await session.run(feeds, { probabilities: null }, { logSeverityLevel: 3 });
    const into = new ort.Tensor('float32', new Float32Array(4), [1, 4]);
    const output = results[session.outputNames[0]];
    const told = {
      inputs: session.inputNames, outputs: session.outputNames, metadata: [session.inputMetadata, session.outputMetadata],
      keys: [Object.keys(results), Object.keys(some), Object.keys(chosen)], dims: output.dims, data: Array.from(output.data), chosen: plain(chosen.probabilities),
      isTensor: output instanceof ort.Tensor,
      best: results.probabilities.data.indexOf(Math.max(...results.probabilities.data)),
    };
    const wrong = [
      () => session.run({}), () => session.run({ picture: into }), () => session.run(feeds, ['label']), () => session.run(feeds, []), () => session.run(feeds, null),
      () => session.run({ image: into }), () => session.run(into), () => ort.InferenceSession.create('/onnx-data/none.onnx'), () => ort.InferenceSession.create(7),
    ];
    told.wrong = [];
    for (const attempt of wrong) told.wrong.push((await threw(attempt)) instanceof Error);
    await session.release();
    return told;
  },

  async bytes(ort) {
    const file = await (await fetch('/onnx-data/ranges.onnx')).arrayBuffer();
    const padded = new Uint8Array(file.byteLength + 20);
    padded.set(new Uint8Array(file), 8);
    const results = [];
    for (const session of [
      await ort.InferenceSession.create(file),
      await ort.InferenceSession.create(new Uint8Array(file), {}),
      await ort.InferenceSession.create(padded.buffer, 8, file.byteLength, { executionProviders: [{ name: 'wasm' }] }),
    ]) {
      const { squares } = await session.run({ x: new ort.Tensor('float32', [3, 1], [2]) });
      results.push(plain(squares));
      await session.release();
    }
    return results;
  },

  async recurrent(ort) {
    const add = onnx([['Add', ['x', 'h'], ['hn']]], [['x', 'float32', ['n']], ['h', 'float32', ['n']]], [['hn', 'float32', ['n']]]);
    const session = await ort.InferenceSession.create(add);
    let h = new ort.Tensor('float32', new Float32Array(3), [3]);
    for (let i = 0; i < 5; i++) ({ hn: h } = await session.run({ x: new ort.Tensor('float32', [i, 1, 0.5], [3]), h }));
    await session.release();
    return plain(h);
  },

  async image(ort) {
    const pixels = new ImageData(Uint8ClampedArray.from({ length: 4 * 6 }, (_, i) => (i % 4 === 3 ? 255 : i * 10)), 3, 2);
    const bitmap = await createImageBitmap(pixels);
    return [
      await ort.Tensor.fromImage(pixels), await ort.Tensor.fromImage(pixels, { tensorFormat: 'BGR' }),
      await ort.Tensor.fromImage(bitmap, { tensorFormat: 'RGB', norm: { mean: [58, 57, 56], bias: [-123, -116, -103] } }),
      await ort.Tensor.fromImage(bitmap, { tensorFormat: 'RGBA', norm: { mean: 127.5, bias: -127.5 } }),
    ].map(plain);
  },

  async environment(ort) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.proxy = false;
    ort.env.logLevel = 'error';
    return [ort.env.wasm.numThreads, ort.env.logLevel, typeof ort.env.versions.common, typeof ort.default.InferenceSession.create];
  },
};

/** What all the snippets give, or the error of each. */
export async function told(ort) {
  const all = {};
  for (const [name, snippet] of Object.entries(snippets)) all[name] = await snippet(ort).catch((error) => `${error.name}: ${error.message}`);
  return all;
}

/** How two packages differ: paths to what is not equal, numbers within 1e-5. */
export function differences(a, b, at = '') {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) < 1e-5 || Object.is(a, b) ? [] : [`${at}: ${a}, ${b}`];
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return Object.is(a, b) ? [] : [`${at}: ${a}, ${b}`];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) => differences(a[key], b[key], `${at}/${key}`));
}

/** homefire/ort gives what onnxruntime-web gave (`onnxruntime-web.json`, stored by `--store`). */
export async function ortFace({ ort }, { wrong = false }) {
  const want = await (await fetch('/reference/onnxruntime-web.json')).json();
  if (wrong) want.classify.data[0] += 1;
  const got = JSON.parse(JSON.stringify(await told(ort)));
  const found = differences(got, want);
  assert(found.length === 0, found.join('\n'));
  return `${Object.keys(want).length} snippets`;
}

/** Providers choose the device; outputs that stay are read later. */
export async function ortDevices({ ort }, { device }) {
  const providers = device === 'webgpu' ? ['webgpu', 'wasm'] : ['wasm'];
  const session = await ort.InferenceSession.create('/onnx-data/classifier.onnx', { executionProviders: providers, preferredOutputLocation: 'gpu-buffer' });
  const { logits } = await session.run({ image: new ort.Tensor('float32', new Float32Array(192), [1, 3, 8, 8]) });
  assert(logits.location === 'gpu-buffer' && logits.dims.join() === '1,4' && (await threw(() => logits.data)), 'an output that stays');
  const data = await logits.getData(true);
  assert(data.length === 4 && logits.location === 'cpu' && logits.data === data, 'what was read');
  const into = new ort.Tensor('float32', new Float32Array(4), [1, 4]);
  const again = (await session.run({ image: new ort.Tensor('float32', new Float32Array(192), [1, 3, 8, 8]) })).logits;
  await again.getData();
  await again.getData(true);
  const freed = await threw(() => again.reshape([4]));
  assert(freed === null, `what was freed after it was read: ${freed}`);
  await session.release();
  if (globalThis.crossOriginIsolated && device === 'cpu') {
    ort.env.wasm.numThreads = 3;
    const threaded = await ort.InferenceSession.create('/onnx-data/classifier.onnx');
    ort.env.wasm.numThreads = 0;
    const { threads } = threaded.model.info.device;
    assert(threads === 3, `${threads} threads`);
    await threaded.release();
  }
  const other = await ort.InferenceSession.create('/onnx-data/classifier.onnx');
  const filled = await other.run({ image: new ort.Tensor('float32', new Float32Array(192), [1, 3, 8, 8]) }, { logits: into });
  assert(filled.logits === into && into.data.every((x, i) => Math.abs(x - data[i]) < 1e-5), 'a tensor given for an output');
  await other.release();
  const none = await threw(() => ort.InferenceSession.create('/onnx-data/classifier.onnx', { executionProviders: ['cuda'] }));
  assert(/cuda/.test(none?.message), `providers that are none: ${none}`);
}
