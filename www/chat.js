// The conversation: its messages, one answer at a time, and the scroll that follows it.
import { AnswerView, userMessage } from "./message.js";
import { isCancelled } from "./errors.js";
import { statsText } from "./meter.js";

const CUT = {
  length: "stopped at the token limit",
  context: "stopped: the context is full, start a new chat",
  cancelled: "stopped",
};

/**
 * Follows the end of a scrolled element until the visitor moves up, and again once they are back at its end. What
 * decides is the direction of a movement: a distance from the end also comes from text that has just grown.
 */
class Follow {
  #scroller;
  #jump;
  #active;
  #following = true;
  /** The position last seen or set. */
  #top = 0;

  /** `active` says whether there is anything to follow. */
  constructor(scroller, jump, active) {
    this.#scroller = scroller;
    this.#jump = jump;
    this.#active = active;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    scroller.addEventListener("wheel", ({ deltaY }) => { // comes before the movement that it causes
      if (deltaY < 0 && scroller.scrollTop > 0) this.#set(false);
    }, { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.grown()).observe(scroller);
  }

  /** The content grew. */
  grown() {
    this.#look(); // a movement whose event is still on its way
    if (this.#following) this.#goToEnd();
  }

  /** Goes to the end and follows it again. */
  toEnd() {
    this.#set(true);
    this.#goToEnd();
  }

  #goToEnd() {
    if (!this.#active()) return;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const left = scrollHeight - scrollTop - clientHeight;
    const moved = scrollTop - this.#top;
    this.#top = scrollTop;
    if (moved < -1 && left > 2) this.#set(false); // at the end all the same: the text became shorter
    else if (moved > 1 && left < 48) this.#set(true);
    else this.#set(this.#following);
  }

  #set(following) {
    this.#following = following;
    this.#jump.hidden = following || !this.#active();
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
    this.#follow.toEnd();
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
    tokensPerSecond: last > first ? ((tokens - 1) * 1000) / (last - first) : undefined,
    firstTokenMs: first ? first - started : undefined,
  };
}
