// Sound at another rate: a stream of samples through a windowed sinc, whose cutoff lies below half the lower rate.

/** Zero crossings of the sinc on either side. */
const CROSSINGS = 16;

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Resamples a stream. What it gives lags behind what it took until `end`. */
export class Resampler {
  private readonly step: number;
  private readonly phases: number;
  private readonly reach: number;
  private readonly cutoff: number;
  private readonly kernels: Float32Array[] = [];
  /** Samples that are still needed; the first one has the number `base` in the stream. */
  private held: Float32Array;
  private base: number;
  /** Numbers of the samples taken and given. */
  private taken = 0;
  private given = 0;

  constructor(from: number, to: number) {
    const common = gcd(from, to);
    this.step = from / common;
    this.phases = to / common;
    this.cutoff = Math.min(1, to / from) * (from === to ? 1 : 0.95);
    this.reach = from === to ? 0 : Math.ceil(CROSSINGS / this.cutoff);
    this.held = new Float32Array(this.reach);
    this.base = -this.reach;
  }

  /** The samples that follow from some more of the stream. */
  push(samples: Float32Array): Float32Array {
    if (this.reach === 0) return samples;
    const held = new Float32Array(this.held.length + samples.length);
    held.set(this.held);
    held.set(samples, this.held.length);
    this.held = held;
    this.taken += samples.length;
    return this.drain(this.taken - this.reach);
  }

  /** The rest: the stream is over. */
  end(): Float32Array {
    if (this.reach === 0) return new Float32Array(0);
    const held = new Float32Array(this.held.length + this.reach);
    held.set(this.held);
    this.held = held;
    return this.drain(this.taken);
  }

  /** Output samples that lie before the input sample `until`. */
  private drain(until: number): Float32Array {
    const n = Math.max(0, Math.ceil((until * this.phases) / this.step) - this.given);
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const position = (this.given + i) * this.step;
      const whole = Math.floor(position / this.phases);
      const kernel = this.kernel(position - whole * this.phases);
      const at = whole - this.reach + 1 - this.base;
      let sum = 0;
      for (let tap = 0; tap < kernel.length; tap++) sum += (kernel[tap] as number) * (this.held[at + tap] ?? 0);
      out[i] = sum;
    }
    this.given += n;
    const needed = Math.floor((this.given * this.step) / this.phases) - this.reach + 1;
    const drop = Math.min(this.held.length, Math.max(0, needed - this.base));
    this.held = this.held.slice(drop);
    this.base += drop;
    return out;
  }

  /** The weights of the samples around a position `phase / phases` after a sample. They sum to 1. */
  private kernel(phase: number): Float32Array {
    const known = this.kernels[phase];
    if (known) return known;
    const kernel = new Float32Array(2 * this.reach);
    let sum = 0;
    for (let tap = 0; tap < kernel.length; tap++) {
      const t = tap - this.reach + 1 - phase / this.phases;
      const x = Math.PI * t * this.cutoff;
      const window = Math.cos((Math.PI * t) / (2 * this.reach)) ** 2;
      const weight = (x === 0 ? 1 : Math.sin(x) / x) * window;
      kernel[tap] = weight;
      sum += weight;
    }
    this.kernels[phase] = kernel.map((weight) => weight / sum);
    return this.kernels[phase] as Float32Array;
  }
}
