import { HomefireError } from "./errors.js";
import type { Ending } from "./messages.js";
import type { GenerationResult, Piece, TokenLogprob } from "./types.js";

/**
 * An answer being made. Iterate it for the pieces as they come, await it for the whole; both may be done,
 * in any order, and every iteration starts from the first piece. It has started already.
 */
export class Generation implements PromiseLike<GenerationResult>, AsyncIterable<Piece> {
  private readonly pieces: Piece[] = [];
  private waiting: (() => void)[] = [];
  private ended = false;
  /** When the first and the last piece came. */
  private first: number | undefined;
  private last = 0;
  private failure: HomefireError | undefined;
  private resolve!: (result: GenerationResult) => void;
  private reject!: (error: HomefireError) => void;
  private readonly result: Promise<GenerationResult>;

  /** @internal */
  constructor(
    private readonly started: number,
    private readonly stop: () => void,
  ) {
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // An answer that nobody awaits must not become an unhandled rejection.
    this.result.catch(() => {});
  }

  /** Stops within one token, or some 10 ms where tokens are faster. What was made so far stays: the result has finishReason `cancelled`. */
  cancel(): void {
    if (this.ended) return;
    this.stop();
    this.finish({ finishReason: "cancelled", ...this.known() });
  }

  /** What the page knows of an answer whose ending it does not wait for: nothing of the prompt. */
  private known(): Pick<Ending, "usage" | "timings"> {
    const count = (pieces: readonly Piece[]): number => pieces.reduce((sum, { ids }) => sum + ids.length, 0);
    const { first = this.started } = this;
    const decodeMs = Math.max(0, this.last - first);
    return {
      usage: { promptTokens: 0, reusedTokens: 0, completionTokens: count(this.pieces), draftedTokens: 0 },
      timings: {
        promptMs: 0,
        firstTokenMs: first - this.started,
        decodeMs,
        promptTokensPerSecond: 0,
        decodeTokensPerSecond: decodeMs > 0 ? (1000 * count(this.pieces.slice(1))) / decodeMs : 0,
      },
    };
  }

  then<A = GenerationResult, B = never>(
    fulfilled?: ((result: GenerationResult) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.result.then(fulfilled, rejected);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void, undefined> {
    let at = 0;
    try {
      for (;;) {
        const piece = this.pieces[at];
        if (piece) {
          at++;
          yield piece;
        } else if (this.failure) throw this.failure;
        else if (this.ended) return;
        else await new Promise<void>((wake) => this.waiting.push(wake));
      }
    } finally {
      this.cancel();
    }
  }

  /** @internal */
  push(piece: Piece): void {
    if (this.ended) return;
    this.last = performance.now();
    this.first ??= this.last;
    this.pieces.push(piece);
    this.wake();
  }

  /** @internal */
  finish(ending: Ending): void {
    if (this.ended) return;
    this.ended = true;
    const logprobs: TokenLogprob[] = this.pieces.flatMap((piece) => piece.logprobs ?? []);
    this.resolve({
      text: this.pieces.map((piece) => piece.text).join(""),
      ids: this.pieces.flatMap((piece) => piece.ids),
      ...ending,
      ...(logprobs.length > 0 ? { logprobs } : {}),
    });
    this.wake();
  }

  /** @internal */
  fail(error: HomefireError): void {
    if (this.ended) return;
    this.ended = true;
    this.failure = error;
    this.reject(error);
    this.wake();
  }

  private wake(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const wake of waiting) wake();
  }
}
