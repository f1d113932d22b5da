// What a file is, by what is in it and not by its name.
import { Task, element, sample, scoreBar, timeText } from "./task.js";

const MODELS = { model: "/models/magika.onnx", config: "/models/magika.config.json", types: "/models/magika.types.json" };

/** Samples that are told by their label. */
const SNIPPETS = {
  Python: "import os\n\n\ndef main(path):\n    for name in sorted(os.listdir(path)):\n        print(name, len(name))\n\n\nif __name__ == '__main__':\n    main('.')\n",
  HTML: "<!doctype html>\n<html><head><title>Hi</title></head>\n<body><p class=\"x\">Hello</p><script>alert(1)</script></body></html>\n",
  Rust: "use std::collections::HashMap;\n\n/// Counts words.\npub fn count(text: &str) -> HashMap<&str, usize> {\n    let mut counts = HashMap::new();\n    for word in text.split_whitespace() {\n        *counts.entry(word).or_insert(0) += 1;\n    }\n    counts\n}\n",
  SQL: "CREATE TABLE guests (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\nINSERT INTO guests (name) VALUES ('Ada'), ('Grace');\nSELECT g.name, COUNT(*) FROM guests g JOIN visits v ON v.guest = g.id GROUP BY g.name ORDER BY 2 DESC;\n",
  Prose: "The fire was lit at a quarter past six. By seven the room was warm, and those who had come in from the rain hung their coats over the chairs and talked about the road, which was worse than last year.\n",
};

/** The tab of files: `accept(files)` takes any. */
export function filesTab({ panel, device, announce }) {
  const [list, table] = ["#files-list", "#files-table"].map((id) => panel.querySelector(id));
  const task = new Task({
    slot: panel.querySelector(".task-state"),
    note: "Magika · 3 MB · loads with the first file",
    device,
    announce,
    open: ({ loadFileType }, options) => loadFileType(MODELS, options),
  });

  const identify = (files) => task.run(async (types, signal, tell) => {
    const start = performance.now();
    for (const [i, file] of files.entries()) {
      tell(`Looking at ${i + 1} of ${files.length}`);
      const row = rowOf(file, await types.identify(file));
      if (signal.aborted) return "";
      list.prepend(row);
      table.hidden = false;
    }
    return `${files.length} ${files.length === 1 ? "file" : "files"} in ${timeText(performance.now() - start)}`;
  });

  for (const chip of panel.querySelectorAll(".chip")) {
    chip.addEventListener("click", async () => {
      const { snippet, sample: name } = chip.dataset;
      identify([snippet ? new File([SNIPPETS[snippet]], `${snippet} snippet`) : await sample(name)]);
    });
  }
  const input = panel.querySelector("#files-file");
  panel.querySelector("#files-choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length > 0) identify(files);
  });
  return { task, accepts: () => true, accept: identify };
}

function rowOf(file, { label, score, guess, mime, group, description }) {
  const what = element("div", "file-what", element("strong", "", description ?? label));
  if (guess && guess !== label) what.append(element("span", "muted", ` perhaps ${guess}`));
  const cells = [
    element("td", "file-name", file.name),
    element("td", "", what, element("div", "muted file-kind", [label, group, mime].filter(Boolean).join(" · "))),
    element("td", "file-score", scoreBar(score, `Probability ${score.toFixed(3)}`), element("span", "", `${(score * 100).toFixed(1)} %`)),
  ];
  const row = element("tr", "", ...cells);
  row.dataset.test = "file";
  row.dataset.label = label;
  return row;
}
