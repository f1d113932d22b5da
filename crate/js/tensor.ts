// Tensors as callers see them: a type, dimensions, and elements in row-major order.
import { HomefireError } from "./errors.js";
import { decoder, encoder } from "./floats.js";

/** The elements of each type: 64-bit integers as BigInts, halves and smaller floats as their bits, bools as 0 and 1. */
export interface TensorDataMap {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
  string: string[];
  /** One element a byte, as all of these. */
  int4: Int8Array;
  uint4: Uint8Array;
  int2: Int8Array;
  uint2: Uint8Array;
  float8e4m3fn: Uint8Array;
  float8e4m3fnuz: Uint8Array;
  float8e5m2: Uint8Array;
  float8e5m2fnuz: Uint8Array;
  float8e8m0: Uint8Array;
  float4e2m1: Uint8Array;
}

/** The element types of tensors. */
export type TensorType = keyof TensorDataMap;

export type TensorData = TensorDataMap[TensorType];

/** A plain object that `run()` takes as a tensor. Arrays of numbers are converted; halves may be a Float16Array. */
export interface TensorLike {
  type: TensorType;
  /** One dimension, where left out. */
  dims?: readonly number[];
  data: ArrayLike<number | bigint | boolean | string>;
}

/** What a network gives for an output: a tensor, a sequence, or `null` where an optional value is absent. */
export type Value = Tensor | Value[] | null;

type Elements = { new (length: number): ArrayLike<number | bigint> & ArrayBufferView; BYTES_PER_ELEMENT: number; name: string };

const ELEMENTS: Record<Exclude<TensorType, "string">, Elements> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
  int4: Int8Array,
  uint4: Uint8Array,
  int2: Int8Array,
  uint2: Uint8Array,
  float8e4m3fn: Uint8Array,
  float8e4m3fnuz: Uint8Array,
  float8e5m2: Uint8Array,
  float8e5m2fnuz: Uint8Array,
  float8e8m0: Uint8Array,
  float4e2m1: Uint8Array,
};

/** Arrays that stand for the elements of a type beside its own. */
const ALSO: Partial<Record<TensorType, string>> = { float16: "Float16Array", uint8: "Uint8ClampedArray" };

/** The type that a typed array has when nobody says it. */
const TYPE_OF: Readonly<Record<string, TensorType>> = {
  Float32Array: "float32",
  Float64Array: "float64",
  Float16Array: "float16",
  Int8Array: "int8",
  Int16Array: "int16",
  Int32Array: "int32",
  BigInt64Array: "int64",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
  Uint16Array: "uint16",
  Uint32Array: "uint32",
  BigUint64Array: "uint64",
};

/** The name of a typed array's class, whichever window made it; what else it is, for messages. */
export function kindOf(data: unknown): string {
  if (ArrayBuffer.isView(data)) return (data as unknown as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "DataView";
  if (Array.isArray(data)) return "Array";
  return data === null ? "null" : typeof data === "object" ? data.constructor?.name || "object" : typeof data;
}

/** Whether a typed array of that class can be the elements of a type. */
export const holds = (type: TensorType, kind: string): boolean =>
  type !== "string" && (ELEMENTS[type].name === kind || ALSO[type] === kind);

const refuse = (message: string): never => {
  throw new HomefireError("invalid-input", message);
};

/** Elements in row-major order, with their type and dimensions; dimensions `[]` are a single number. */
export class Tensor<T extends TensorType = TensorType> {
  readonly type: T;
  readonly dims: readonly number[];
  /** The elements. Of a typed array given to the constructor they are the same memory. */
  readonly data: TensorDataMap[T];

  /**
   * A tensor of `type`. The elements are the type's own array (see `TensorDataMap`), or numbers, bigints, booleans or
   * strings in an array, which are converted where the type can hold them. Without `dims` it has one dimension.
   *
   * @throws {HomefireError} `invalid-input` when the type is none, or the data is not of it, `shape-mismatch` when the
   * dimensions do not have as many elements as the data.
   */
  constructor(type: T, data: TensorLike["data"], dims: readonly number[] = [data?.length]) {
    if (type !== "string" && !Object.hasOwn(ELEMENTS, type)) {
      refuse(`There is no tensor type "${String(type)}"; the types are ${Object.keys(ELEMENTS).join(", ")} and string.`);
    }
    this.type = type;
    this.data = elementsOf(type, data) as TensorDataMap[T];
    if (kindOf(dims) !== "Array" && !ArrayBuffer.isView(dims)) refuse(`The dims of a tensor are an array of numbers, not ${kindOf(dims)}.`);
    this.dims = Array.from(dims);
    const wrong = this.dims.findIndex((n) => !Number.isSafeInteger(n) || n < 0);
    if (wrong >= 0) refuse(`dims[${wrong}] is ${String(this.dims[wrong])}; dimensions are whole numbers of at least 0.`);
    if (this.size !== this.data.length) {
      throw new HomefireError(
        "shape-mismatch",
        `The dimensions [${this.dims.join(", ")}] have ${this.size} elements, and the data has ${this.data.length}.`,
      );
    }
  }

  /**
   * A tensor of numbers (float32), bigints (int64), booleans, strings, arrays of these in arrays, whose nesting gives
   * the dimensions, or a typed array. `type` and `dims` say otherwise.
   */
  static from<T extends TensorType = TensorType>(values: unknown, { type, dims }: { type?: T; dims?: readonly number[] } = {}): Tensor<T> {
    if (ArrayBuffer.isView(values)) {
      const own = TYPE_OF[kindOf(values)] ?? refuse("A tensor is not made from a DataView: give a typed array.");
      const array = values as unknown as TensorLike["data"];
      if (type === undefined || holds(type, kindOf(values))) return new Tensor((type ?? own) as T, array, dims);
      return new Tensor(type, Array.from(array), dims);
    }
    const nested: number[] = [];
    for (let inner = values; Array.isArray(inner); inner = inner[0]) nested.push(inner.length);
    const flat: (number | bigint | boolean | string)[] = [];
    flatten(values, nested, 0, flat);
    const inferred = { number: "float32", bigint: "int64", boolean: "bool", string: "string" } as const;
    const first = inferred[typeof flat[0] as keyof typeof inferred];
    if (!type && !first) refuse("An empty array does not say what type it has: give it as `type`.");
    return new Tensor((type ?? first) as T, flat, dims ?? nested);
  }

  /** How many elements there are. */
  get size(): number {
    return this.dims.reduce((n, dim) => n * dim, 1);
  }

  /** The same elements in other dimensions. */
  reshape(dims: readonly number[]): Tensor<T> {
    return new Tensor(this.type, this.data, dims);
  }

  /** The elements as numbers, whatever type they have: halves and smaller floats decoded. A new array. */
  toFloat32(): Float32Array {
    const decode = decoder(this.type) ?? Number;
    if (this.type === "string") refuse("A tensor of strings has no numbers.");
    return Float32Array.from(this.data as ArrayLike<number>, decode);
  }
}

/** What says whether a value can be an element of a type other than strings: integers, and floats given as their bits, have a range. */
function fitting(type: TensorType): (x: unknown) => boolean {
  const bits = type === "bool" ? 1 : Number(/^(?:u?int|float(?=[48]))(\d+)/.exec(type)?.[1]);
  const half = type.startsWith("int") ? 2 ** (bits - 1) : 0;
  const held = (x: number | bigint): boolean => !bits || ((typeof x === "bigint" || Number.isInteger(x)) && x >= -half && x < 2 ** bits - half);
  return (x) => typeof x === "boolean" || ((typeof x === "number" || typeof x === "bigint") && held(x));
}

/** Data as the array that its type has. */
function elementsOf(type: TensorType, data: TensorLike["data"]): TensorData {
  const kind = kindOf(data);
  if (type === "string") {
    if (kind === "Array" && Array.from(data as unknown[]).every((x) => typeof x === "string")) return data as string[];
    return refuse(`The data of a string tensor is an array of strings, not ${kind === "Array" ? "of other things" : `a ${kind}`}.`);
  }
  const elements = ELEMENTS[type];
  if (kind === elements.name) return data as unknown as TensorData;
  const view = data as unknown as ArrayBufferView;
  if (ALSO[type] === kind) {
    const Own = elements as unknown as new (buffer: ArrayBufferLike, offset: number, length: number) => TensorData;
    return new Own(view.buffer, view.byteOffset, data.length);
  }
  if (kind !== "Array") {
    const also = ALSO[type] ? ` or a ${ALSO[type]}` : "";
    return refuse(`The data of a ${type} tensor is a ${elements.name}${also}, or an array, not a ${kind}.`);
  }
  const big = elements === BigInt64Array || elements === BigUint64Array;
  const encode = encoder(type);
  const convert = big
    ? (x: number | bigint | boolean | string) => BigInt(x)
    : (x: number | bigint | boolean | string) => (encode ? encode(Number(x)) : Number(x));
  const array = data as (number | bigint | boolean | string)[];
  const fits = fitting(type);
  const odd = array.findIndex((x) => !fits(x));
  if (odd >= 0) {
    const x: unknown = array[odd];
    const shown = typeof x === "string" ? JSON.stringify(x) : typeof x === "object" ? `${kindOf(x)} (Tensor.from() takes nested arrays)` : String(x);
    refuse(`Element ${odd} of the data of a ${type} tensor cannot be ${shown}.`);
  }
  return (elements as unknown as { from(data: unknown, convert: unknown): TensorData }).from(array, convert);
}

/** The elements of nested arrays, which must have the dimensions `dims`. */
function flatten(values: unknown, dims: readonly number[], depth: number, into: unknown[]): void {
  const want = dims[depth];
  if (Array.isArray(values) !== (want !== undefined) || (Array.isArray(values) && values.length !== want)) {
    throw new HomefireError("shape-mismatch", `The arrays are not all of the dimensions [${dims.join(", ")}] that the first ones have.`);
  }
  if (Array.isArray(values)) for (const value of values) flatten(value, dims, depth + 1, into);
  else if (into.length > 0 && typeof into[0] !== typeof values) refuse(`The elements are of several types: ${typeof into[0]} and ${typeof values}.`);
  else if (!["number", "bigint", "boolean", "string"].includes(typeof values)) refuse(`A tensor has no elements of type ${typeof values}.`);
  else into.push(values);
}

/** A tensor between the page and the worker: its elements as bytes. @internal */
export interface WireTensor {
  type: TensorType;
  dims: readonly number[];
  data: Uint8Array | string[];
}

/** A tensor of the worker's as the caller gets it. @internal */
export function tensorOf({ type, dims, data }: WireTensor): Tensor {
  if (type === "string") return new Tensor(type, data as string[], dims);
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  const elements = ELEMENTS[type];
  const Own = elements as unknown as new (buffer: ArrayBufferLike, offset: number, length: number) => TensorData;
  return new Tensor(type, new Own(buffer, byteOffset, byteLength / elements.BYTES_PER_ELEMENT) as TensorLike["data"], dims);
}
