// Work in slices: a long loop on the page asks now and then whether its slice is over, and lets the page breathe.
import { turn } from "../turn.js";

/** How long a slice may take, so that a frame of 60 a second still has time for the page. */
const SLICE_MS = 6;

/** The slices of one piece of work. */
export class Pace {
  private start = performance.now();
  /** Milliseconds that slices took in all, and the longest one. */
  busyMs = 0;
  longestMs = 0;

  constructor(private readonly signal?: AbortSignal) {}

  /** Whether it is time to `breathe`. */
  get due(): boolean {
    return performance.now() - this.start > SLICE_MS;
  }

  /** Ends a slice and begins the next. Throws the signal's reason when it is aborted. */
  async breathe(): Promise<void> {
    this.pause();
    await turn();
    this.signal?.throwIfAborted();
    this.resume();
  }

  /** The work stops for something that does not keep the page busy. */
  pause(): void {
    const took = performance.now() - this.start;
    this.busyMs += took;
    this.longestMs = Math.max(this.longestMs, took);
  }

  /** The work goes on. */
  resume(): void {
    this.start = performance.now();
  }
}
