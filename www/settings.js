// The settings of a generation, read from their form when a message is sent.

/** @param {HTMLFormElement} form */
export function settingsOf(form) {
  const input = (id) => form.querySelector(`#${id}`);
  const ranges = ["temperature", "top-p"];
  const showValue = (id) => { input(`${id}-value`).textContent = Number(input(id).value).toFixed(2); };
  for (const id of ranges) {
    input(id).addEventListener("input", () => showValue(id));
    showValue(id);
  }
  form.addEventListener("submit", (event) => event.preventDefault());

  return {
    /** The options of `model.chat`; a field that is empty or out of its range leaves its option to the package. */
    options() {
      const whole = (id) => (input(id).value !== "" && input(id).validity.valid ? Number(input(id).value) : undefined);
      // Small models repeat themselves without a penalty.
      const options = { temperature: Number(input("temperature").value), topP: Number(input("top-p").value), topK: 40, repetitionPenalty: 1.1 };
      const maxTokens = whole("max-tokens");
      const seed = whole("seed");
      if (maxTokens !== undefined) options.maxTokens = maxTokens;
      if (seed !== undefined) options.seed = seed;
      return options;
    },
    /** The system prompt as the messages that go first. */
    systemMessages() {
      const content = input("system-prompt").value.trim();
      return content === "" ? [] : [{ role: "system", content }];
    },
  };
}

/** Fills `list` (a dl) with what is known of the loaded model. */
export function showFacts(list, info) {
  const rows = [];
  if (info) {
    const { device } = info;
    const parameters = info.parameters >= 1e9 ? `${(info.parameters / 1e9).toFixed(1)} B` : `${Math.round(info.parameters / 1e6)} M`;
    rows.push(
      ["Model", info.name],
      ["Weights", `${parameters} parameters, ${info.quantization}`],
      ["Context", `${info.contextLength.toLocaleString("en")} tokens`],
      ["Runs on", [device.kind === "webgpu" ? "GPU" : "CPU", device.adapter, device.variant,
        device.kind === "cpu" && (device.workers > 1 ? `${device.workers} workers` : `${device.threads} ${device.threads === 1 ? "thread" : "threads"}`)].filter(Boolean).join(", ")],
      ["Because", device.reason],
    );
  } else {
    rows.push(["Model", "not loaded yet"]);
  }
  list.replaceChildren(...rows.flatMap(([term, detail]) => {
    const dt = document.createElement("dt");
    dt.textContent = term;
    const dd = document.createElement("dd");
    dd.textContent = detail;
    return [dt, dd];
  }));
}
