// One message of the conversation, as shown: the visitor's words, or an answer that grows.
import { BlockView } from "./markdown.js";
import { errorElement } from "./errors.js";

/** An icon of the page's sprite. */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function iconButton(name, label, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tool";
  button.setAttribute("aria-label", label);
  button.title = label;
  button.append(icon(name));
  button.addEventListener("click", () => onClick(button));
  return button;
}

/** Copies `text` and says so on `button` for a moment. */
async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = false;
  }
  const before = [...button.childNodes];
  button.replaceChildren(...(button.classList.contains("tool") && done ? [icon("check")] : [done ? "Copied" : "Not allowed"]));
  setTimeout(() => button.replaceChildren(...before), 1400);
}

/** The visitor's message as an element. */
export function userMessage(text) {
  const article = document.createElement("article");
  article.className = "message user";
  article.dataset.test = "user";
  article.setAttribute("aria-label", "You");
  const body = document.createElement("div");
  body.className = "bubble";
  body.textContent = text;
  article.append(body);
  return article;
}

/**
 * An answer. `data-state` of its element is "waiting" (for the model or its first token), "streaming", "done", "stopped"
 * or "failed". Text is shown at most once per animation frame.
 */
export class AnswerView {
  text = "";
  element = document.createElement("article");
  #body = document.createElement("div");
  #hint = document.createElement("p");
  #tools = document.createElement("div");
  #stats = document.createElement("span");
  #blocks = new BlockView(this.#body);
  #frame = 0;
  #onShown;

  /** @param {{ onRegenerate: () => void, onShown: () => void }} options `onShown` runs after each change of the height */
  constructor({ onRegenerate, onShown }) {
    this.#onShown = onShown;
    const { element } = this;
    element.className = "message assistant";
    element.dataset.test = "assistant";
    element.dataset.state = "waiting";
    element.setAttribute("aria-label", "Homefire");
    element.setAttribute("aria-busy", "true");
    this.#body.className = "body";
    this.#body.addEventListener("click", (event) => {
      const button = event.target.closest(".copy-code");
      if (button) copy(button.closest("figure").querySelector("code").textContent, button);
    });
    this.#hint.className = "hint";
    const dots = document.createElement("span");
    dots.className = "dots";
    dots.setAttribute("aria-hidden", "true");
    dots.append(...[0, 1, 2].map(() => document.createElement("i")));
    this.#hint.append(dots, document.createElement("span"));
    this.#tools.className = "tools";
    this.#tools.hidden = true;
    const copyButton = iconButton("copy", "Copy the answer", (button) => copy(this.text, button));
    copyButton.dataset.test = "copy";
    const again = iconButton("again", "Answer again", onRegenerate);
    again.classList.add("regenerate");
    again.dataset.test = "regenerate";
    this.#stats.className = "stats";
    this.#tools.append(copyButton, again, this.#stats);
    element.append(this.#body, this.#hint, this.#tools);
  }

  /** Says what the answer waits for. */
  waitFor(what) {
    this.#hint.lastElementChild.textContent = what;
  }

  /** Adds a piece; it is shown with the next frame. */
  append(piece) {
    if (piece === "") return;
    this.text += piece;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** Ends the answer: "done" or "stopped", with its figures and, where it was cut, why. */
  finish(state, stats, note) {
    this.#show();
    this.#end(state);
    this.#stats.textContent = [note, stats].filter(Boolean).join(" · ");
    this.#onShown();
  }

  /** Ends the answer with an error, below what there was of it. */
  fail(error) {
    this.#show();
    this.#end("failed");
    this.element.insertBefore(errorElement(error), this.#tools);
    this.#tools.hidden = this.text === "";
    this.#onShown();
  }

  /** Makes this the newest answer, or not: the newest has the id `stats` on its figures and can be asked again. */
  setLatest(latest) {
    this.element.classList.toggle("latest", latest);
    if (latest) this.#stats.id = "stats";
    else this.#stats.removeAttribute("id");
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.text === "") return;
    if (this.element.dataset.state === "waiting") this.element.dataset.state = "streaming";
    this.#blocks.show(this.text);
    this.#onShown();
  }

  #end(state) {
    this.element.dataset.state = state;
    this.element.removeAttribute("aria-busy");
    this.#tools.hidden = false;
  }
}
