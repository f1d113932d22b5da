/** What went wrong, as a closed list. */
export type ErrorKind =
  | "fetch"
  | "format"
  | "unsupported-format"
  | "unsupported-op"
  | "invalid-graph"
  | "shape-mismatch"
  | "invalid-input"
  | "context-full"
  | "out-of-memory"
  | "no-webgpu"
  | "device-lost"
  | "cancelled"
  | "internal";

const KINDS: ReadonlySet<string> = /* @__PURE__ */ new Set<ErrorKind>([
  "fetch", "format", "unsupported-format", "unsupported-op", "invalid-graph", "shape-mismatch", "invalid-input",
  "context-full", "out-of-memory", "no-webgpu", "device-lost", "cancelled", "internal",
]);

/** Every failure of this package: its kind, and the node or tensor that it concerns. The message says what to do. */
export class HomefireError extends Error {
  /** What went wrong, to branch on. */
  readonly kind: ErrorKind;
  /** The node or tensor that the error concerns. */
  readonly node: string | undefined;

  constructor(kind: ErrorKind, message: string, node?: string) {
    super(message);
    this.name = "HomefireError";
    this.kind = kind;
    this.node = node;
  }
}

/** An error as it crosses from the worker to the page. @internal */
export interface PlainError {
  kind: ErrorKind;
  message: string;
  node: string | undefined;
}

/** What an error says. @internal */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Whatever was thrown, in the form that crosses from the worker to the page. @internal */
export function toPlain(thrown: unknown): PlainError {
  if (!(thrown instanceof Error)) return { kind: "internal", message: String(thrown), node: undefined };
  const { kind, node } = thrown as { kind?: unknown; node?: unknown };
  const known = typeof kind === "string" && KINDS.has(kind);
  const plain: PlainError = {
    kind: known ? (kind as ErrorKind) : "internal",
    message: thrown.message,
    node: typeof node === "string" ? node : undefined,
  };
  if (known) return plain;
  if (thrown.name === "AbortError") plain.kind = "cancelled";
  else if (thrown instanceof RangeError && /memory|allocation/i.test(thrown.message)) plain.kind = "out-of-memory";
  else plain.message = `${thrown.name}: ${thrown.message}`;
  return plain;
}

/** The error that the page throws for one that the worker sent. @internal */
export function fromPlain(plain: PlainError): HomefireError {
  return new HomefireError(plain.kind, plain.message, plain.node);
}
