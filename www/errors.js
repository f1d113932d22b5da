// What an error means to a visitor, and what can be done next.

/** The next steps a visitor can take, by the name the page listens for, with the label of their button. */
const STEPS = {
  retry: "Try again",
  cpu: "Use the CPU",
  file: "Choose a file",
  "new-chat": "New chat",
  reload: "Reload the page",
};

const ADVICE = {
  fetch: ["The model could not be downloaded", "Check that the server is running and has the file, or use a .gguf of your own.", ["retry", "file"]],
  format: ["This file is not a whole GGUF model", "It may be cut short or damaged. Download it again, or choose another.", ["file"]],
  "unsupported-format": ["This kind of model is not supported yet", "Choose a GGUF of the Llama family, such as SmolLM2, Qwen2 or Llama 3.", ["file"]],
  "unsupported-op": ["This model needs an operation that is missing here", "Choose another model.", ["file"]],
  "context-full": ["The conversation no longer fits the model’s context", "Start a new chat, or ask for shorter answers in the settings.", ["new-chat"]],
  "out-of-memory": ["There is not enough memory for this model", "Close other tabs, use the CPU, or choose a smaller model.", ["cpu", "file"]],
  "no-webgpu": ["WebGPU is not usable here", "The CPU serves in every browser.", ["cpu"]],
  "device-lost": ["The graphics device was lost", "This can happen after sleep or a driver update. Loading again usually helps.", ["retry", "cpu"]],
  "invalid-input": ["That could not be asked of the model", "Look at the settings, or try another message.", ["retry"]],
  package: ["The Homefire package is not here", "This page imports /dist/index.js. Run npm start in the repository: it builds the package and serves both.", ["reload"]],
};

/** Of the other tabs, where the reason in the error's own words says most. */
const TASK_ADVICE = {
  fetch: ["The model could not be downloaded", "Check that the server is running and has the file: npm start gets what is missing."],
  format: ["This file cannot be read", "It may be damaged, or of a kind that this browser does not know."],
  picture: ["This is no picture", "Choose another one."],
  "unsupported-format": ["This kind of model is not for this tab", "Choose another file."],
  "unsupported-op": ["This network needs operators that are missing here", "They are named below."],
  "invalid-input": ["That could not be done", "The reason is below."],
  "shape-mismatch": ["The network does not take these sizes", "Choose others: the reason is below."],
  "out-of-memory": ["There is not enough memory", "Close other tabs, or choose a smaller file."],
  "no-webgpu": ["WebGPU is not usable here", "Choose the CPU below: it serves in every browser."],
  "device-lost": ADVICE["device-lost"],
  package: ADVICE.package,
};

const UNKNOWN = ["Something went wrong", "This may be a fault of Homefire’s. Trying again may help.", ["retry"]];

/** Whether the error only says that the caller stopped the work. */
export function isCancelled(error) {
  return error?.kind === "cancelled" || error?.name === "AbortError";
}

/**
 * An error as a block: what happened, in the error's own words too, and buttons for the next steps.
 * A button dispatches a bubbling `step` event whose detail is the step's name.
 * @param {unknown} error
 * @param {string[]} [allowed] the steps that make sense here
 */
export function errorElement(error, allowed = Object.keys(STEPS)) {
  const [title, next, steps] = ADVICE[error?.kind] ?? UNKNOWN;
  return block(error, title, next, steps.filter((step) => allowed.includes(step)));
}

/** The same for a tab with models of its own. */
export function taskErrorElement(error) {
  const [title, next] = TASK_ADVICE[error?.kind] ?? UNKNOWN;
  return block(error, title, next, [error?.kind === "package" ? "reload" : "retry"]);
}

function block(error, title, next, steps) {
  const box = document.createElement("div");
  box.className = "error";
  box.setAttribute("role", "alert");
  box.dataset.kind = error?.kind ?? "unknown";
  box.dataset.test = "error";
  const heading = document.createElement("p");
  heading.className = "error-title";
  heading.textContent = title;
  const advice = document.createElement("p");
  advice.textContent = next;
  const detail = document.createElement("p");
  detail.className = "error-detail";
  detail.textContent = `${error?.message ?? error}${error?.node ? ` (at ${error.node})` : ""}`;
  const buttons = document.createElement("div");
  buttons.className = "error-steps";
  for (const step of steps) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.dataset.step = step;
    button.textContent = STEPS[step];
    button.addEventListener("click", () => button.dispatchEvent(new CustomEvent("step", { bubbles: true, detail: step })));
    buttons.append(button);
  }
  box.append(heading, advice, detail, buttons);
  return box;
}
