// From probabilities to stretches of speech, by the rules of Silero VAD, as the probabilities come.

/** When speech begins and ends; times are in milliseconds. */
export interface SegmentOptions {
  /** Speech begins at this probability (0.5), */
  threshold?: number;
  /** and may end below this one (0.15 less). */
  endThreshold?: number;
  /** Shorter speech is left out (250). */
  minSpeechMs?: number;
  /** Shorter silence does not end speech (100). */
  minSilenceMs?: number;
  /** So much is added at either side (30). */
  padMs?: number;
}

/** A stretch of speech, in seconds from the beginning of the stream. */
export interface Segment {
  start: number;
  end: number;
}

/** Finds the stretches of one stream. */
export class Segmenter {
  private readonly threshold: number;
  private readonly endThreshold: number;
  private readonly minSpeech: number;
  private readonly minSilence: number;
  private readonly pad: number;
  /** Where speech began, where silence began within it, and where the chunk that comes next begins: in samples. */
  private start: number | undefined;
  private silence: number | undefined;
  private at = 0;
  /** The last stretch, whose end waits for the beginning of the next: the two may share what lies between them. */
  private last: { start: number; end: number } | undefined;

  constructor(
    options: SegmentOptions,
    private readonly rate: number,
    private readonly chunk: number,
  ) {
    const { threshold = 0.5, minSpeechMs = 250, minSilenceMs = 100, padMs = 30 } = options;
    this.threshold = threshold;
    this.endThreshold = options.endThreshold ?? Math.max(threshold - 0.15, 0.01);
    [this.minSpeech, this.minSilence, this.pad] = [(minSpeechMs * rate) / 1000, (minSilenceMs * rate) / 1000, (padMs * rate) / 1000];
  }

  /** Whether the stream is within speech, and since which second. */
  get speakingSince(): number | undefined {
    return this.start === undefined ? undefined : Math.max(0, this.start - this.pad) / this.rate;
  }

  /** Takes the probability of the next chunk; gives the stretch that is certain now, if there is one. */
  push(probability: number): Segment | undefined {
    const at = this.at;
    this.at += this.chunk;
    if (probability >= this.threshold) {
      this.silence = undefined;
      this.start ??= at;
      return undefined;
    }
    if (this.start !== undefined && probability < this.endThreshold) {
      this.silence ??= at;
      if (at - this.silence >= this.minSilence) return this.close(this.silence);
    }
    // Far enough from the last stretch that the next one cannot share its silence.
    if (this.start === undefined && this.last && this.at - this.last.end >= 2 * this.pad) return this.settle();
    return undefined;
  }

  /** The rest, at the end of the stream of `samples`. */
  end(samples: number): Segment[] {
    const closed = this.start === undefined ? undefined : this.close(samples);
    const settled = this.settle(samples);
    return [closed, settled].filter((segment) => segment !== undefined);
  }

  /** Ends the speech under way at `end`; gives the stretch before it. */
  private close(end: number): Segment | undefined {
    const start = this.start as number;
    [this.start, this.silence] = [undefined, undefined];
    if (end - start <= this.minSpeech) return undefined;
    const before = this.last;
    const gap = before ? start - before.end : Infinity;
    const shared = gap < 2 * this.pad ? Math.floor(gap / 2) : this.pad;
    if (before) before.end += shared;
    this.last = { start: Math.max(0, start - shared), end };
    return before && this.seconds(before);
  }

  private settle(limit = Infinity): Segment | undefined {
    const { last } = this;
    this.last = undefined;
    return last && this.seconds({ start: last.start, end: Math.min(limit, last.end + this.pad) });
  }

  private seconds({ start, end }: { start: number; end: number }): Segment {
    return { start: start / this.rate, end: end / this.rate };
  }
}
