// Tensors on their way between the page and the worker: the elements as bytes.
import { HomefireError } from "./errors.js";
import type { Tensor, TensorData, TensorType } from "./types.js";

/** A named tensor whose elements are bytes. */
export interface WireTensor {
  name: string;
  type: TensorType;
  dims: readonly number[];
  data: Uint8Array;
}

type Elements = (new (buffer: ArrayBuffer, offset: number, length: number) => TensorData) & { BYTES_PER_ELEMENT: number };

const ELEMENTS: Record<TensorType, Elements> = {
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
};

/** A tensor of the caller's as it is posted; its elements are copied on the way. */
export function toWire(name: string, { type, dims, data }: Tensor): WireTensor {
  const elements = ELEMENTS[type];
  if (!elements) {
    throw new HomefireError("invalid-input", `The input "${name}" has the type "${String(type)}"; it may be ${Object.keys(ELEMENTS).join(", ")}.`);
  }
  if (!ArrayBuffer.isView(data) || data.BYTES_PER_ELEMENT !== elements.BYTES_PER_ELEMENT) {
    throw new HomefireError("invalid-input", `The data of the input "${name}" is no ${elements.name}, which "${type}" wants.`);
  }
  if (!Array.isArray(dims)) throw new HomefireError("invalid-input", `The input "${name}" has no dims: an array of numbers.`);
  return { name, type, dims: [...dims], data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** A tensor of the worker's as the caller gets it. */
export function fromWire({ type, dims, data }: WireTensor): Tensor {
  const elements = ELEMENTS[type];
  const buffer = data.buffer as ArrayBuffer;
  return { type, dims, data: new elements(buffer, data.byteOffset, data.byteLength / elements.BYTES_PER_ELEMENT) };
}
