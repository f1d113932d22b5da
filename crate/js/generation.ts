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
    const nothing = { promptMs: 0, firstTokenMs: 0, decodeMs: 0, promptTokensPerSecond: 0, decodeTokensPerSecond: 0 };
    const completionTokens = this.pieces.reduce((sum, piece) => sum + piece.ids.length, 0);
    const decodeMs = performance.now() - this.started;
    this.finish({
      finishReason: "cancelled",
      usage: { promptTokens: 0, reusedTokens: 0, completionTokens, draftedTokens: 0 },
      timings: { ...nothing, decodeMs },
    });
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
