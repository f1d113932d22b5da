// Chat templates come with the model, so they are hostile: they run under a limit of steps and of text.
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { HomefireError, messageOf } from "./errors.js";
import type { Conversation } from "./messages.js";

const MAX_STEPS = 2_000_000;
const MAX_TEMPLATE = 1 << 18;
const MAX_TEXT = 1 << 24;
const MAX_RANGE = 100_000;

type Value = ReturnType<Interpreter["run"]>;
type Node = Parameters<Interpreter["evaluate"]>[0];

const refuse = (what: string): HomefireError =>
  new HomefireError("invalid-input", `The chat template ${what}. Pass a working one as chatTemplate.`);

/** The interpreter, with every step counted and every string and list measured. */
class Bounded extends Interpreter {
  private steps = 0;
  private text = 0;

  override evaluate(statement: Node, environment: Environment): Value {
    if (++this.steps > MAX_STEPS) throw refuse(`takes more than ${MAX_STEPS} steps`);
    const value = super.evaluate(statement, environment);
    const inner: unknown = value.value;
    if (typeof inner === "string") {
      if (inner.length > 4096) this.text += inner.length;
      if (this.text > MAX_TEXT * 16 || inner.length > MAX_TEXT) throw refuse("makes too much text");
    } else if (Array.isArray(inner) && inner.length > 10 * MAX_RANGE) throw refuse("makes too long a list");
    return value;
  }
}

/** The prompt text for a conversation, ending where the assistant is to go on. */
export function renderChat(
  template: string,
  { messages, variables }: Conversation,
  tokens: { bosToken?: string | null | undefined; eosToken?: string | null | undefined },
): string {
  if (template.length > MAX_TEMPLATE) throw refuse(`is longer than ${MAX_TEMPLATE} characters`);
  const environment = new Environment();
  const set = (name: string, value: unknown): void => void environment.set(name, value);
  set("false", false);
  set("true", true);
  set("none", null);
  set("raise_exception", (message: unknown) => {
    throw new HomefireError("invalid-input", `The chat template refuses these messages: ${String(message)}`);
  });
  set("range", (from: unknown, to?: unknown, by: unknown = 1) => {
    const [start, end, step] = to === undefined ? [0, Number(from), 1] : [Number(from), Number(to), Number(by)];
    const length = Math.ceil((end - start) / step);
    if (!(step !== 0) || !(length <= MAX_RANGE)) throw refuse(`asks for a range of ${length}`);
    return Array.from({ length: Math.max(0, length) }, (_, i) => start + i * step);
  });
  set("strftime_now", (format: unknown) => strftime(String(format), new Date()));
  set("add_generation_prompt", true);
  set("bos_token", tokens.bosToken ?? "");
  set("eos_token", tokens.eosToken ?? "");
  try {
    set("messages", messages);
    for (const [name, value] of Object.entries(variables)) {
      if (environment.variables.has(name)) throw new HomefireError("invalid-input", `templateVariables has "${name}", which the chat template gets from elsewhere. Leave it out.`);
      if (value !== undefined) set(name, value);
    }
    const program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
    return String(new Bounded(environment).run(program).value);
  } catch (thrown) {
    if (thrown instanceof HomefireError) throw thrown;
    throw refuse(`does not render: ${messageOf(thrown)}`);
  }
}

function strftime(format: string, now: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const month = (style: "short" | "long"): string => now.toLocaleString("en", { month: style });
  const parts: Record<string, string> = {
    Y: String(now.getFullYear()), m: two(now.getMonth() + 1), d: two(now.getDate()), H: two(now.getHours()),
    M: two(now.getMinutes()), S: two(now.getSeconds()), b: month("short"), B: month("long"), "%": "%",
    A: now.toLocaleString("en", { weekday: "long" }), a: now.toLocaleString("en", { weekday: "short" }),
  };
  return format.replace(/%(.)/g, (all, letter: string) => parts[letter] ?? all);
}
