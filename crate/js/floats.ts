// Floating-point numbers that JavaScript has no array for everywhere, from their bits and back.

/** Bits of the exponent and of the mantissa, the exponent's bias, and what stands for infinity and NaN. */
type Layout = readonly [exponent: number, mantissa: number, bias: number, special: "ieee" | "nan" | "unsigned-zero" | "none"];

const LAYOUTS: Readonly<Record<string, Layout>> = {
  float16: [5, 10, 15, "ieee"],
  bfloat16: [8, 7, 127, "ieee"],
  float8e4m3fn: [4, 3, 7, "nan"],
  float8e4m3fnuz: [4, 3, 8, "unsigned-zero"],
  float8e5m2: [5, 2, 15, "ieee"],
  float8e5m2fnuz: [5, 2, 16, "unsigned-zero"],
  float4e2m1: [2, 1, 1, "none"],
};

/** What turns bits of that type into a number, where it is one of these types. */
export function decoder(type: string): ((bits: number) => number) | undefined {
  if (type === "float8e8m0") return (bits) => (bits === 255 ? NaN : 2 ** (bits - 127));
  const layout = LAYOUTS[type];
  if (!layout) return undefined;
  const [exponent, mantissa, bias, special] = layout;
  const top = (1 << exponent) - 1;
  const ones = (1 << mantissa) - 1;
  return (bits) => {
    const negative = (bits >> (exponent + mantissa)) & 1;
    const e = (bits >> mantissa) & top;
    const m = bits & ones;
    if (special === "unsigned-zero" && negative && e === 0 && m === 0) return NaN;
    if (special === "nan" && e === top && m === ones) return NaN;
    if (special === "ieee" && e === top) return m ? NaN : negative ? -Infinity : Infinity;
    const size = e === 0 ? m * 2 ** (1 - bias - mantissa) : (1 + m / (ones + 1)) * 2 ** (e - bias);
    return negative ? -size : size;
  };
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** What turns a number into the bits of that type, rounded to nearest even, where it is a half. */
export function encoder(type: string): ((x: number) => number) | undefined {
  if (type === "bfloat16") {
    return (x) => {
      float[0] = x;
      const b = bits[0] ?? 0;
      return x !== x ? 0x7fc0 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
    };
  }
  if (type !== "float16") return undefined;
  return (x) => {
    float[0] = x;
    const b = bits[0] ?? 0;
    const sign = (b >>> 16) & 0x8000;
    const size = Math.abs(x);
    if (size !== size) return 0x7e00;
    if (size >= 65520) return sign | 0x7c00;
    if (size < 2 ** -14) return sign | even(size * 2 ** 24);
    const e = ((b >>> 23) & 255) - 127;
    return sign | (((e + 15) << 10) + even((size / 2 ** e - 1) * 1024));
  };
}

/** The nearest whole number, of two the even one. */
function even(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}
