// Search by meaning over a text: its passages in the order of how near they are to what is asked.
import { Task, element, scoreBar, timeText } from "./task.js";

const MODELS = ["minilm.config.json", "minilm.tokenizer.json", "minilm.safetensors"].map((name) => `/models/${name}`);
/** A stroke that is typed while a search is under way starts the next one; this is how long the page waits for more. */
const PAUSE_MS = 250;

/** The tab of search: `accept(files)` takes text files. */
export function searchTab({ panel, device, announce }) {
  const [text, query, list] = ["#search-text", "#search-query", "#search-hits"].map((id) => panel.querySelector(id));
  const task = new Task({
    slot: panel.querySelector(".task-state"),
    note: "MiniLM L6 · 91 MB · loads with the first search",
    device,
    announce,
    open: async ({ loadSearch, passagesOf }, options) => {
      const search = await loadSearch(MODELS, options);
      return { search, passagesOf, indexed: null, close: () => search.close() };
    },
  });

  const ask = () => {
    const asked = query.value.trim();
    if (asked === "" || text.value.trim() === "") return;
    task.run(async (models, signal, tell) => {
      const { search, passagesOf } = models;
      const whole = text.value;
      const start = performance.now();
      if (models.indexed !== whole) {
        search.clear();
        models.indexed = null;
        await search.index(passagesOf(whole, 45), { signal, onProgress: (done, total) => tell(`Reading the text: ${done} of ${total} passages`) });
        models.indexed = whole;
      }
      const indexedMs = performance.now() - start;
      const hits = await search.search(asked, 5, { signal });
      if (signal.aborted) return "";
      list.replaceChildren(...hits.map(({ text: passage, score }, i) => {
        const place = element("div", "hit-score", scoreBar(score, `Similarity ${score.toFixed(2)}`), element("span", "", score.toFixed(2)));
        const item = element("li", i === 0 ? "hit best" : "hit", element("p", "", passage), place);
        item.dataset.test = "hit";
        return item;
      }));
      list.hidden = false;
      const searched = performance.now() - start - indexedMs;
      return `${search.size} passages${indexedMs > 1 ? `, read in ${timeText(indexedMs)}` : ""}, searched in ${timeText(searched)}`;
    });
  };

  panel.querySelector("#search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  let timer = 0;
  query.addEventListener("input", () => {
    clearTimeout(timer);
    if (!list.hidden) timer = setTimeout(ask, PAUSE_MS); // once there are results, they follow what is typed
  });
  panel.querySelector(".suggestions").addEventListener("click", (event) => {
    const chip = event.target.closest(".chip");
    if (!chip) return;
    query.value = chip.textContent;
    ask();
  });
  return {
    task,
    accepts: (file) => file.type.startsWith("text/") || /\.(txt|md|csv|json|html?)$/i.test(file.name),
    async accept([file]) {
      text.value = await file.text();
      list.hidden = true;
      query.focus();
      ask();
    },
  };
}
