// The ONNX project's stored values as `run()` takes and gives them: TensorProto, SequenceProto and OptionalProto read
// from bytes, and its rule for what counts as equal. Also the least of a ModelProto, written.
const TYPES = [null, 'float32', 'uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'string', 'bool', 'float16', 'float64',
  'uint32', 'uint64', 'complex64', 'complex128', 'bfloat16', 'float8e4m3fn', 'float8e4m3fnuz', 'float8e5m2', 'float8e5m2fnuz',
  'uint4', 'int4', 'float4e2m1', 'float8e8m0', 'uint2', 'int2'];
const ARRAYS = {
  float32: Float32Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  float16: Uint16Array, float64: Float64Array, uint32: Uint32Array, uint64: BigUint64Array, bfloat16: Uint16Array, int4: Int8Array,
  int2: Int8Array, complex64: Float32Array, complex128: Float64Array,
};
/** Several elements to a byte in files, lowest bits first; one to a byte here. */
const BITS = { uint4: 4, int4: 4, float4e2m1: 4, uint2: 2, int2: 2 };

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    if (wire === 0) yield [key >> 3, varint()];
    else if (wire === 2) {
      const length = Number(varint());
      yield [key >> 3, bytes.subarray(at, (at += length))];
    } else if (wire === 5) yield [key >> 3, bytes.subarray(at, (at += 4))];
    else if (wire === 1) yield [key >> 3, bytes.subarray(at, (at += 8))];
    else throw new Error(`wire type ${wire}`);
  }
}

/** A packed run of varints, or one. */
function varints(value, into) {
  if (typeof value === 'bigint') return void into.push(value);
  for (let at = 0; at < value.length;) {
    let number = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = value[at++];
      number |= BigInt(byte & 127) << shift;
      if (byte < 128) break;
    }
    into.push(number);
  }
}

function joined(chunks) {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  chunks.reduce((at, chunk) => (bytes.set(chunk, at), at + chunk.length), 0);
  return bytes;
}

export function tensor(bytes) {
  const [dims, ints, strings, chunks] = [[], [], [], []];
  let type;
  let raw;
  for (const [field, value] of fields(bytes)) {
    if (field === 1) varints(value, dims);
    else if (field === 2) type = TYPES[Number(value)];
    else if (field === 4 || field === 10) chunks.push(value);
    else if (field === 5 || field === 7 || field === 11) varints(value, ints);
    else if (field === 6) strings.push(new TextDecoder().decode(value));
    else if (field === 9) raw = value;
  }
  const shape = dims.map(Number);
  if (type === 'string') return { type, dims: shape, data: strings };
  const size = shape.reduce((n, dim) => n * dim, 1);
  const Own = ARRAYS[type] ?? Uint8Array;
  if (BITS[type]) {
    // Packed in bytes, whichever field they are in.
    const packed = raw ?? Uint8Array.from(ints, (x) => Number(x & 255n));
    return { type, dims: shape, data: unpacked(packed, BITS[type], size, Own) };
  }
  if (raw || chunks.length > 0) {
    const own = raw ? raw.slice() : joined(chunks);
    return { type, dims: shape, data: new Own(own.buffer, 0, own.length / Own.BYTES_PER_ELEMENT) };
  }
  const big = Own === BigInt64Array || Own === BigUint64Array;
  return { type, dims: shape, data: Own.from(ints, (x) => (big ? BigInt.asIntN(64, x) : Number(BigInt.asIntN(32, x)))) };
}

function unpacked(bytes, bits, size, Own) {
  const perByte = 8 / bits;
  return Own.from({ length: size }, (_, i) => {
    const value = (bytes[Math.floor(i / perByte)] >> (bits * (i % perByte))) & ((1 << bits) - 1);
    return Own === Int8Array && value >> (bits - 1) ? value - (1 << bits) : value;
  });
}

export function sequence(bytes) {
  const items = [];
  for (const [field, value] of fields(bytes)) {
    if (field === 3) items.push(tensor(value));
    else if (field === 5) items.push(sequence(value));
    else if (field === 7) items.push(optional(value));
    else if (field === 4 || field === 6) throw new Error('maps and sparse tensors are not read');
  }
  return items;
}

export function optional(bytes) {
  for (const [field, value] of fields(bytes)) {
    if (field === 3) return tensor(value);
    if (field === 5) return sequence(value);
    if (field === 7) return optional(value);
  }
  return null;
}

/** A stored value of a type as the list of cases gives it, such as `float` or `sequence(float)`. */
export const value = (bytes, type) => (type.startsWith('sequence') ? sequence(bytes) : type.startsWith('optional') ? optional(bytes) : tensor(bytes));

const FLOATS = { float16: [5, 10, 15], bfloat16: [8, 7, 127] };

/** The numbers of a tensor. Floats of at most a byte stay bits: they must agree exactly. */
function numbers({ type, data }) {
  if (!FLOATS[type]) return data;
  const [exponent, mantissa, bias] = FLOATS[type];
  return Array.from(data, (bits) => {
    const sign = bits >> (exponent + mantissa) ? -1 : 1;
    const e = (bits >> mantissa) & ((1 << exponent) - 1);
    const m = bits & ((1 << mantissa) - 1);
    if (e === (1 << exponent) - 1) return m ? NaN : sign * Infinity;
    return sign * (e === 0 ? m * 2 ** (1 - bias - mantissa) : (1 + m / 2 ** mantissa) * 2 ** (e - bias));
  });
}

/** How a value differs from what is wanted by the rule of onnx's own runner (`assert_similar_outputs`); null where it does not. */
export function difference(got, want, rtol, atol) {
  if (want === null || got === null || got === undefined) return want === (got ?? null) ? null : 'one of the two is absent';
  if (Array.isArray(want) || Array.isArray(got)) {
    if (!Array.isArray(want) || !Array.isArray(got) || got.length !== want.length) return 'another length of a sequence';
    return want.map((item, i) => difference(got[i], item, rtol, atol)).find((found) => found) ?? null;
  }
  if (got.type !== want.type) return `type ${got.type}, not ${want.type}`;
  if (got.dims.join() !== want.dims.join()) return `shape [${got.dims}], not [${want.dims}]`;
  const [a, b] = [numbers(got), numbers(want)];
  if (a.length !== b.length) return `${a.length} elements, not ${b.length}`;
  const exact = want.type === 'string' || /^float[48]/.test(want.type);
  // Two units in the last place of 16 bits, which is what rounding on the way makes of them.
  const relative = Math.max(rtol, { bfloat16: 2 ** -6, float16: 2 ** -9 }[want.type] ?? 0);
  let wrong = 0;
  let worst = 0;
  for (let i = 0; i < b.length; i++) {
    if (a[i] === b[i] || (a[i] !== a[i] && b[i] !== b[i])) continue;
    const [x, y] = [Number(a[i]), Number(b[i])];
    if (!exact && Number.isFinite(y) && Math.abs(x - y) <= atol + relative * Math.abs(y)) continue;
    wrong++;
    worst = Math.max(worst, Math.abs(x - y));
  }
  return wrong > 0 ? `${wrong} of ${b.length} elements, by up to ${worst.toPrecision(3)}` : null;
}

const varint = (n) => {
  const out = [];
  for (let rest = n; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest];
    out.push((rest % 128) + 128);
  }
};
const message = (field, ...parts) => {
  const bytes = parts.flat(Infinity);
  return [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
};
const text = (field, string) => message(field, [...new TextEncoder().encode(string)]);
const number = (field, n) => [...varint(field * 8), ...varint(n)];

/** The type of a value: an element type, or `{ sequence: element type }`, with dimensions that are numbers or names. */
function typeOf(type, dims) {
  if (typeof type === 'object') return message(4, message(1, typeOf(type.sequence, dims)));
  const shape = dims && message(2, dims.map((dim) => message(1, typeof dim === 'number' ? number(1, dim) : text(2, dim))));
  return message(1, number(1, TYPES.indexOf(type)), shape ?? []);
}

/** A constant whose elements are in another file. */
function outside([name, type, dims, location, offset, length]) {
  const entries = Object.entries({ location, offset: String(offset), length: String(length) });
  return message(5, dims.map((dim) => number(1, dim)), number(2, TYPES.indexOf(type)), text(8, name),
    entries.map(([key, value]) => message(13, text(1, key), text(2, value))), number(14, 1));
}

/**
 * An ONNX file: nodes `[operator, inputs, outputs]`, inputs and outputs `[name, type, dims]`, constants in other files
 * `[name, type, dims, location, offset, length]`.
 */
export function model(nodes, inputs, outputs, { opset = 21, data = [] } = {}) {
  const port = (field) => ([name, type, dims]) => message(field, text(1, name), message(2, typeOf(type, dims)));
  const node = ([op, takes, gives], i) =>
    message(1, takes.map((name) => text(1, name)), gives.map((name) => text(2, name)), text(3, `${op}_${i}`), text(4, op));
  const graph = message(7, nodes.map(node).flat(), text(2, 'graph'), data.flatMap(outside), inputs.flatMap(port(11)), outputs.flatMap(port(12)));
  return Uint8Array.from([...number(1, 10), ...graph, ...message(8, number(2, opset))]);
}
