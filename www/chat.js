// The conversation: its messages, one answer at a time, and the scroll that follows it.
import { AnswerView, userMessage } from "./message.js";
import { isCancelled } from "./errors.js";
import { statsText } from "./meter.js";

const CUT = {
  length: "stopped at the token limit",
  context: "stopped: the context is full, start a new chat",
  cancelled: "stopped",
};

/** Follows the end of a scrolled element while the visitor is at its end, and only then. */
class Follow {
  #scroller;
  #jump;
  #active;
  #following = true;

  /** `active` says whether there is anything to follow. */
  constructor(scroller, jump, active) {
    this.#scroller = scroller;
    this.#jump = jump;
    this.#active = active;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.grown()).observe(scroller);
  }

  /** The content grew. */
  grown() {
    if (!this.#active()) {
      this.#jump.hidden = true;
      return;
    }
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#jump.hidden = this.#following;
  }

  /** Goes to the end and follows it again. */
  toEnd() {
    this.#following = true;
    this.grown();
  }

  #look() {
    if (!this.#active()) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < 48;
    this.#jump.hidden = this.#following;
  }
}

/** Events: `change` when an answer starts or ends, or the conversation becomes empty or not. */
export class Chat extends EventTarget {
  #hearth;
  #settings;
  #list;
  #announce;
  #follow;
  /** What was said: `{ role, content }`. */
  #messages = [];
  /** The answers shown, oldest first. */
  #views = [];
  #abort = null;

  /**
   * @param {{ hearth: import("./model.js").Hearth, settings: object, list: HTMLElement, scroller: HTMLElement,
   *   jump: HTMLElement, announce: (text: string) => void }} options
   */
  constructor({ hearth, settings, list, scroller, jump, announce }) {
    super();
    this.#hearth = hearth;
    this.#settings = settings;
    this.#list = list;
    this.#announce = announce;
    this.#follow = new Follow(scroller, jump, () => !this.empty);
  }

  /** Whether an answer is under way, from its question to its last token. */
  get answering() {
    return this.#abort !== null;
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /** Asks `text`; while an answer is under way, does nothing and returns false. */
  send(text) {
    if (this.answering) return false;
    if (this.#messages.at(-1)?.role === "user") this.#messages.pop(); // never answered: templates want turns to alternate
    this.#messages.push({ role: "user", content: text });
    this.#list.append(userMessage(text));
    this.#answer();
    return true;
  }

  /** Stops the answer; what there is of it stays. */
  stop() {
    this.#abort?.abort();
  }

  /** Answers the last question again, in place of its last answer. */
  regenerate() {
    if (this.answering || this.#views.length === 0) return;
    if (this.#messages.at(-1)?.role === "assistant") this.#messages.pop();
    this.#views.pop().element.remove();
    this.#answer();
  }

  /** Forgets the conversation. */
  clear() {
    this.stop();
    this.#abort = null;
    this.#messages = [];
    this.#views = [];
    this.#list.replaceChildren();
    this.#follow.grown();
    this.#changed();
  }

  async #answer() {
    const abort = new AbortController();
    const messages = this.#messages;
    const view = new AnswerView({ onRegenerate: () => this.regenerate(), onShown: () => this.#follow.grown() });
    this.#abort = abort;
    this.#views.at(-1)?.setLatest(false);
    this.#views.push(view);
    view.setLatest(true);
    this.#list.append(view.element);
    this.#changed();
    this.#follow.toEnd();

    const measured = { tokens: 0, started: 0, first: 0, last: 0 };
    try {
      view.waitFor(this.#hearth.status === "ready" ? "Thinking" : "Waiting for the model to load");
      const model = await this.#hearth.whenReady(abort.signal);
      view.waitFor("Thinking");
      this.#announce("Answering.");
      measured.started = performance.now();
      const generation = model.chat([...this.#settings.systemMessages(), ...messages], {
        ...this.#settings.options(),
        signal: abort.signal,
      });
      for await (const piece of generation) {
        measured.tokens += piece.ids.length;
        measured.last = performance.now();
        measured.first ||= measured.last;
        view.append(piece.text);
      }
      const result = await generation;
      view.finish(result.finishReason === "cancelled" ? "stopped" : "done", statsText({
        tokens: result.usage.completionTokens,
        tokensPerSecond: result.timings.decodeTokensPerSecond,
        firstTokenMs: result.timings.firstTokenMs,
      }), CUT[result.finishReason]);
    } catch (error) {
      if (isCancelled(error) || abort.signal.aborted) view.finish("stopped", statsText(figures(measured)), CUT.cancelled);
      else view.fail(error);
    }
    if (view.text !== "" && messages === this.#messages) messages.push({ role: "assistant", content: view.text });
    if (this.#abort !== abort) return; // a new chat began meanwhile
    this.#abort = null;
    this.#announce(view.text === "" ? "No answer." : view.text);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The figures of an answer that was stopped, as the page saw it. */
function figures({ tokens, started, first, last }) {
  return {
    tokens,
    tokensPerSecond: tokens > 1 ? ((tokens - 1) * 1000) / (last - first) : undefined,
    firstTokenMs: first ? first - started : undefined,
  };
}
