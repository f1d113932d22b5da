// The Tensor of onnxruntime-web: the same constructors and fields, over the elements as it stores them. What differs
// from this package's own: halves are a Float16Array where the browser has it, 4-bit integers lie two to a byte.
import type { DeviceTensor, Tensor as Own, TensorLike, TensorType } from "../index.js";
import { pixelsOf, type FromImageOptions, type ImageSource } from "./image.js";

type Numbers = ArrayLike<number | bigint> & ArrayBufferView;
type Elements = {
  new (buffer: ArrayBufferLike, offset: number, length: number): Numbers;
  from(data: ArrayLike<unknown>, convert?: (x: never) => unknown): Numbers;
};

const Half = (globalThis as { Float16Array?: Elements }).Float16Array;

const ELEMENTS: Readonly<Record<string, Elements>> = {
  float32: Float32Array as unknown as Elements,
  float64: Float64Array as unknown as Elements,
  float16: Half ?? (Uint16Array as unknown as Elements),
  int8: Int8Array as unknown as Elements,
  int16: Int16Array as unknown as Elements,
  int32: Int32Array as unknown as Elements,
  int64: BigInt64Array as unknown as Elements,
  uint8: Uint8Array as unknown as Elements,
  uint16: Uint16Array as unknown as Elements,
  uint32: Uint32Array as unknown as Elements,
  uint64: BigUint64Array as unknown as Elements,
  bool: Uint8Array as unknown as Elements,
  int4: Uint8Array as unknown as Elements,
  uint4: Uint8Array as unknown as Elements,
};

const isPacked = (type: string): boolean => type === "int4" || type === "uint4";

/** A tensor as onnxruntime-web has it. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class Tensor<T extends Tensor.Type = Tensor.Type> {
  readonly type: T;
  readonly dims: readonly number[];
  /** How many elements there are. */
  readonly size: number;
  private elements: Tensor.DataTypeMap[T] | undefined;
  private kept: DeviceTensor | undefined;
  private where: Tensor.DataLocation = "cpu";

  constructor(type: T, data: Tensor.DataTypeMap[T] | readonly unknown[], dims?: readonly number[]);
  constructor(data: Numbers | readonly boolean[] | readonly string[], dims?: readonly number[]);
  constructor(first: unknown, second?: unknown, third?: unknown) {
    const [type, data, dims = [data.length]] =
      typeof first === "string" ? [first, typed(first, second), third] : [...inferred(first), second];
    if (!Array.isArray(dims)) throw new TypeError("A tensor's dims must be a number array");
    this.type = type as T;
    this.dims = dims as number[];
    this.size = sizeOf(this.dims);
    const length = isPacked(type) ? Math.ceil(this.size / 2) : this.size;
    if (data.length !== length && data.length !== this.size) {
      throw new Error(`Tensor's size(${this.size}) does not match data length(${data.length}).`);
    }
    this.elements = data as Tensor.DataTypeMap[T];
  }

  /** Where the data is: `none` after `dispose()`. */
  get location(): Tensor.DataLocation {
    return this.where;
  }

  /** The elements, when they are on the page. */
  get data(): Tensor.DataTypeMap[T] {
    this.valid();
    if (this.elements === undefined) throw new Error("The data is not on CPU. Use `getData()` to download GPU data to CPU.");
    return this.elements;
  }

  /** The elements, wherever they are. With `release`, those beside the page are freed. */
  async getData(release?: boolean): Promise<Tensor.DataTypeMap[T]> {
    this.valid();
    if (this.elements === undefined && this.kept) {
      this.elements = fromOwn(await this.kept.read()).data as Tensor.DataTypeMap[T];
      this.where = "cpu";
    }
    if (release) {
      await this.kept?.close();
      this.kept = undefined;
    }
    return this.data;
  }

  dispose(): void {
    void this.kept?.close();
    this.kept = undefined;
    this.elements = undefined;
    this.where = "none";
  }

  /** The same elements in other dimensions. */
  reshape(dims: readonly number[]): Tensor<T> {
    this.valid();
    if (this.kept) throw new Error("Cannot reshape a tensor that owns GPU resource.");
    return new Tensor(this.type, this.data, dims);
  }

  /** A picture as `[1, channels, height, width]`, of numbers `(pixel + bias) / mean`. */
  static async fromImage(image: ImageSource, options?: FromImageOptions): Promise<Tensor<"float32">> {
    const { data, dims } = await pixelsOf(image, options);
    return new Tensor("float32", data, dims);
  }

  static fromPinnedBuffer<T extends Tensor.Type>(type: T, buffer: Tensor.DataTypeMap[T], dims?: readonly number[]): Tensor<T> {
    return new Tensor(type, buffer, dims);
  }

  /** A tensor that stayed with its model. @internal */
  static keep(kept: DeviceTensor): Tensor {
    const tensor = Object.create(Tensor.prototype) as { -readonly [K in keyof Tensor]: Tensor[K] } & { kept: DeviceTensor; where: string };
    Object.assign(tensor, { type: kept.type, dims: [...kept.dims], size: kept.size, kept, where: "gpu-buffer" });
    return tensor as unknown as Tensor;
  }

  /** As an input of this package's own `run()`. @internal */
  own(): TensorLike | DeviceTensor {
    this.valid();
    if (this.elements === undefined && this.kept) return this.kept;
    const data = this.data as unknown as TensorLike["data"];
    const like = { type: this.type as TensorType, dims: this.dims };
    return isPacked(this.type) ? { ...like, data: unpack(this.type === "int4", data as ArrayLike<number>, this.size) } : { ...like, data };
  }

  private valid(): void {
    if (this.where === "none") throw new Error("The tensor is disposed.");
  }
}

// eslint-disable-next-line @typescript-eslint/no-namespace
export declare namespace Tensor {
  interface DataTypeMap {
    float32: Float32Array;
    float64: Float64Array;
    /** A Float16Array where the browser has it, else the bits. */
    float16: Uint16Array;
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
    int4: Uint8Array;
    uint4: Uint8Array;
  }
  type Type = keyof DataTypeMap;
  type DataType = DataTypeMap[Type];
  type DataLocation = "none" | "cpu" | "cpu-pinned" | "texture" | "gpu-buffer" | "ml-tensor";
}

export type TypedTensor<T extends Tensor.Type> = Tensor<T>;

/** A tensor of this package as one of onnxruntime-web. @internal */
export function fromOwn({ type, dims, data }: Own): Tensor {
  let elements = data as unknown;
  if (type === "float16" && Half) {
    const { buffer, byteOffset, length } = data as Uint16Array;
    elements = new Half(buffer, byteOffset, length);
  } else if (isPacked(type)) elements = pack(data as ArrayLike<number>);
  else if (type !== "string" && !(type in ELEMENTS)) throw new TypeError(`onnxruntime-web has no tensors of type ${type}; homefire itself has.`);
  return new Tensor(type as Tensor.Type, elements as never, [...dims]);
}

function sizeOf(dims: readonly number[]): number {
  return dims.reduce((size, dim, i) => {
    if (!Number.isSafeInteger(dim)) throw new TypeError(`dims[${i}] must be an integer, got: ${dim}`);
    if (dim < 0) throw new RangeError(`dims[${i}] must be a non-negative integer, got: ${dim}`);
    return size * dim;
  }, 1);
}

/** The data of a tensor whose type was said. */
function typed(type: string, data: unknown): ArrayLike<unknown> {
  if (type === "string") {
    if (!Array.isArray(data)) throw new TypeError("A string tensor's data must be a string array.");
    return data;
  }
  const Own = ELEMENTS[type];
  if (!Own) throw new TypeError(`Unsupported tensor type: ${type}.`);
  if (data instanceof (Own as unknown as NewableFunction)) return data as Numbers;
  if (Array.isArray(data)) {
    if (isPacked(type) || (type === "float16" && !Half)) {
      throw new TypeError(`Creating a ${type} tensor from number array is not supported. Please use ${(Own as unknown as NewableFunction).name} as data.`);
    }
    return type.endsWith("int64") ? Own.from(data, BigInt as never) : Own.from(data);
  }
  if (data instanceof Uint8ClampedArray && type === "uint8") return Uint8Array.from(data);
  if (data instanceof Uint16Array && type === "float16") return new Own(data.buffer, data.byteOffset, data.length);
  throw new TypeError(`A ${type} tensor's data must be type of ${(Own as unknown as NewableFunction).name}`);
}

/** The type and data of a tensor whose type was not said. */
function inferred(data: unknown): [string, ArrayLike<unknown>] {
  if (Array.isArray(data)) {
    if (data.length === 0) throw new TypeError("Tensor type cannot be inferred from an empty array.");
    if (typeof data[0] === "string") return ["string", data];
    if (typeof data[0] === "boolean") return ["bool", Uint8Array.from(data)];
    throw new TypeError(`Invalid element type of data array: ${typeof data[0]}.`);
  }
  if (data instanceof Uint8ClampedArray) return ["uint8", Uint8Array.from(data)];
  // The first type with that array: uint8 comes before bool and the packed ones.
  const found = Object.entries(ELEMENTS).find(([type, Own]) => !(type === "float16" && !Half) && data instanceof (Own as unknown as NewableFunction));
  if (!found) throw new TypeError(`Unsupported type for tensor data: ${String((data as object | undefined)?.constructor)}.`);
  return [found[0], data as Numbers];
}

function unpack(signed: boolean, bytes: ArrayLike<number>, size: number): Int8Array | Uint8Array {
  if (bytes.length === size && size > 1) return signed ? Int8Array.from(bytes) : Uint8Array.from(bytes);
  const out = signed ? new Int8Array(size) : new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    const four = ((bytes[i >> 1] ?? 0) >> (4 * (i & 1))) & 15;
    out[i] = signed && four > 7 ? four - 16 : four;
  }
  return out;
}

function pack(values: ArrayLike<number>): Uint8Array {
  const out = new Uint8Array(Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) out[i >> 1] = (out[i >> 1] ?? 0) | (((values[i] ?? 0) & 15) << (4 * (i & 1)));
  return out;
}
