// What is counted and measured: network requests since the model was ready, bytes, seconds, tokens per second.

/**
 * Counts the requests of this document that start after `begin()`, as resource timing lists them: fetches, scripts,
 * images, styles, workers' scripts, from the cache too. Requests that a worker makes itself are in the worker's own
 * timeline, which a page cannot read, and are not in this number.
 */
export class RequestMeter {
  #element;
  #since = Infinity;
  #count = 0;

  /** @param {HTMLElement} element shows the count; `data-state` is "waiting" or "counting", `data-count` the number */
  constructor(element) {
    this.#element = element;
    new PerformanceObserver((list) => {
      const fresh = list.getEntries().filter((entry) => entry.startTime >= this.#since).length;
      if (fresh > 0) {
        this.#count += fresh;
        this.#show();
      }
    }).observe({ type: "resource" });
    this.#show();
  }

  /** Starts from zero: the model is ready. */
  begin() {
    this.#since = performance.now();
    this.#count = 0;
    this.#show();
  }

  /** Counts nothing until `begin`: no model is ready. */
  rest() {
    this.#since = Infinity;
    this.#show();
  }

  #show() {
    const counting = this.#since !== Infinity;
    this.#element.dataset.state = counting ? "counting" : "waiting";
    this.#element.dataset.count = counting ? String(this.#count) : "";
    const since = document.createElement("span");
    since.className = "wide";
    since.textContent = " since load";
    this.#element.replaceChildren(...(counting ? [`${this.#count} ${this.#count === 1 ? "request" : "requests"}`, since] : ["Requests"]));
  }
}

/** "42.3 of 98.0 MB", or what is known of it. */
export function bytesText(loaded, total) {
  const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e9 ? 1 : 0);
  return total ? `${megabytes(loaded)} of ${megabytes(total)} MB` : `${megabytes(loaded)} MB`;
}

/** "12 s left", "about 3 min left"; empty where nobody knows. */
export function leftText(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 1) return "a moment left";
  if (seconds < 90) return `${Math.ceil(seconds)} s left`;
  return `about ${Math.round(seconds / 60)} min left`;
}

/** What an answer took: `{ tokens, tokensPerSecond, firstTokenMs }` as one line; parts that are unknown are left out. */
export function statsText({ tokens, tokensPerSecond, firstTokenMs }) {
  const parts = [];
  if (Number.isFinite(tokensPerSecond) && tokensPerSecond > 0) {
    parts.push(`${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)} tokens/s`);
  }
  if (Number.isFinite(firstTokenMs)) {
    parts.push(`first after ${firstTokenMs < 1000 ? `${Math.round(firstTokenMs)} ms` : `${(firstTokenMs / 1000).toFixed(1)} s`}`);
  }
  if (tokens > 0) parts.push(`${tokens} ${tokens === 1 ? "token" : "tokens"}`);
  return parts.join(" · ");
}
