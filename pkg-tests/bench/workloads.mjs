// What every engine is given. Inputs are random numbers from a seed, the same for all.

export const languageModel = { name: 'SmolLM2-135M', file: 'smollm2-135m-q4_1.gguf', context: 2048, prompts: { short: 16, middle: 128, long: 512 }, decode: 64 };

/** Sentences to be turned into vectors, of unlike length. */
export const sentences = Array.from({ length: 32 }, (_, i) =>
  ['The cat sleeps on the warm stones by the wall', 'Shares fell after the bank raised its rates', 'A new bridge will cross the river next spring', 'She plays the violin in a small orchestra']
    [i % 4].split(' ').slice(0, 4 + (i % 6)).join(' ') + `, said number ${i}.`);

/** Numbers in [0, 1): a linear congruential generator, high bits alone. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

const count = (dims) => dims.reduce((a, b) => a * b, 1);

function floats(dims, low = -1, high = 1) {
  const next = random(count(dims));
  return { type: 'float32', dims, data: Float32Array.from({ length: count(dims) }, () => low + (high - low) * next()) };
}

function int64s(dims, low, high) {
  const next = random(count(dims));
  return { type: 'int64', dims, data: BigInt64Array.from({ length: count(dims) }, () => BigInt(Math.floor(low + (high - low) * next()))) };
}

const text = (dims) => ({ input_ids: int64s(dims, 1000, 30000), attention_mask: int64s(dims, 1, 1), token_type_ids: int64s(dims, 0, 0) });
const sound = () => ({
  input: floats([1, 576], -0.1, 0.1),
  state: { type: 'float32', dims: [2, 1, 128], data: new Float32Array(256) },
  sr: { type: 'int64', dims: [], data: BigInt64Array.of(16000n) },
});
const bytes = (dims) => ({ type: 'int32', dims, data: Int32Array.from(int64s(dims, 0, 256).data, Number) });

/** Name → the file, its inputs, and of a stream how many steps a run has and which output becomes which input. */
export const networks = {
  'PP-OCRv4 detection, 640 × 640': { file: 'ocr-det.onnx', inputs: () => ({ x: floats([1, 3, 640, 640]) }) },
  'PP-OCRv4 recognition, 1 × 48 × 320': { file: 'ocr-rec.onnx', inputs: () => ({ x: floats([1, 3, 48, 320]) }) },
  'PP-OCRv4 recognition, 6 × 48 × 320': { file: 'ocr-rec.onnx', inputs: () => ({ x: floats([6, 3, 48, 320]) }) },
  'PP-OCR direction, 48 × 192': { file: 'ocr-cls.onnx', inputs: () => ({ x: floats([1, 3, 48, 192]) }) },
  'Silero VAD, one chunk': { file: 'silero-vad.onnx', inputs: sound },
  'Silero VAD, 100 chunks': { file: 'silero-vad.onnx', inputs: sound, steps: 100, chain: { stateN: 'state' } },
  'Magika, 2048 bytes': { file: 'magika.onnx', inputs: () => ({ bytes: bytes([1, 2048]) }) },
  'MiniLM, 1 × 16 tokens': { file: 'minilm-f32.onnx', inputs: () => text([1, 16]) },
  'MiniLM, 1 × 128 tokens': { file: 'minilm-f32.onnx', inputs: () => text([1, 128]) },
  'MiniLM, 32 × 64 tokens': { file: 'minilm-f32.onnx', inputs: () => text([32, 64]) },
};

export const inputsOf = (name) => networks[name].inputs();
