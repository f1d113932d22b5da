// The demo page of Homefire: wires the model, the conversation and the controls together.
//
// Stable hooks for browser tests (each id is also a `data-test` value of the same name, unless said otherwise):
//
//   #prompt         the message field; Enter sends, Shift+Enter makes a new line, Escape stops
//   #send  #stop    exactly one of the two is shown: #stop while an answer is under way
//   #new-chat       forgets the conversation
//   #load           loads the chosen model; shown until it loads
//   #model-card     data-state: "idle" | "loading" | "ready" | "failed"
//   #progress       a <progress> of the load, shown while loading (no `value` while the size is unknown)
//   #file           the file input, also for Playwright's setInputFiles
//   #drop-overlay   shown while a file is dragged over the page
//   #device-select  "auto" | "webgpu" | "cpu"; a change loads the model again if one is loaded or loading
//   #device-badge   data-kind: "webgpu" | "cpu" | "" (no model), data-variant; title: the reason
//   #requests       data-state: "waiting" | "counting"; data-count: requests of this document since the model was ready
//   #stats          the figures of the newest answer (no data-test; older ones are `.message.assistant .stats`)
//   .message.assistant   data-state: "waiting" | "streaming" | "done" | "stopped" | "failed"; its text is in `.body`
//   .message.user        what the visitor said
//   #tab-… and #panel-… of chat (its panel is #scroller), search, ocr, voice, files, network; <html data-tab> is the one shown.
//                   In a panel: .task-state with data-state "idle" | "loading" | "working" | "ready" | "failed"; data-test:
//                   sample, hit, line, segment, file, output, profile, run, query, text, mic, mic-stop, ocr-file, voice-file, files-file
//   .error          an error, in a message or in the card; data-kind: the error's kind; buttons have data-step
//
// `?autoload=1` loads the default model at once. <html data-model> mirrors the state of #model-card.
import { Chat } from "./chat.js";
import { acceptFiles } from "./drop.js";
import { errorElement } from "./errors.js";
import { RequestMeter, bytesText, leftText } from "./meter.js";
import { filesTab } from "./files.js";
import { Hearth, choiceOfFiles } from "./model.js";
import { networkTab } from "./network.js";
import { ocrTab } from "./ocr.js";
import { searchTab } from "./search.js";
import { settingsOf, showFacts } from "./settings.js";
import { Tabs } from "./tabs.js";
import { voiceTab } from "./voice.js";

const $ = (id) => document.getElementById(id);
const announce = (text) => { $("announcer").textContent = text; };

const hearth = new Hearth();
const meter = new RequestMeter($("requests"));
const settings = settingsOf($("settings-form"));
const chat = new Chat({ hearth, settings, list: $("conversation"), scroller: $("scroller"), jump: $("jump"), announce });

// --- the model: its card, badge and counter

function showModel() {
  const { status, chosen, model } = hearth;
  document.documentElement.dataset.model = status;
  const card = $("model-card");
  card.dataset.state = status;
  $("card-name").textContent = chosen.name;
  $("card-note").textContent = status === "ready" ? `Ready on the ${deviceWord(model.info.device.kind)}` : chosen.note;
  $("load").hidden = status === "loading" || status === "ready";
  $("load").textContent = status === "failed" ? "Try again" : "Load";
  $("cancel-load").hidden = status !== "loading";
  $("loading").hidden = status !== "loading";

  const shownInAnswer = status === "failed" && chat.answering;
  $("card-error").hidden = status !== "failed" || shownInAnswer;
  $("card-error").replaceChildren(...(status === "failed" && !shownInAnswer ? [errorElement(hearth.error, ["cpu", "file", "reload"])] : []));
  placeCard(shownInAnswer);

  $("model-name").textContent = status === "ready" ? chosen.name : "";
  showBadge(status === "ready" ? model.info.device : null);
  showFacts($("facts"), model?.info);
}

/** The card is in the middle of an empty page, and above the composer of a conversation while it has something to say. */
function placeCard(shownInAnswer = false) {
  const card = $("model-card");
  const slot = chat.empty ? $("hero-slot") : $("dock-slot");
  if (card.parentElement !== slot) slot.append(card);
  card.hidden = !chat.empty && (hearth.status === "ready" || shownInAnswer || (hearth.status === "failed" && $("card-error").hidden));
}

function deviceWord(kind) {
  return kind === "webgpu" ? "GPU" : "CPU";
}

function showBadge(device) {
  const badge = $("device-badge");
  badge.dataset.kind = device?.kind ?? "";
  badge.dataset.variant = device?.variant ?? "";
  badge.title = device?.reason ?? "";
  const many = device?.threads > 1 ? `${device.threads} threads` : device?.workers > 1 ? `${device.workers} workers` : "";
  badge.textContent = device ? [deviceWord(device.kind), device.variant, device.kind === "cpu" && many].filter(Boolean).join(" · ") : "";
  badge.hidden = device === null;
}

function showProgress() {
  const { progress } = hearth;
  const bar = $("progress");
  const total = progress?.totalBytes;
  const done = total > 0 && progress.loadedBytes >= total;
  if (total > 0 && !done) bar.value = progress.loadedBytes / total;
  else bar.removeAttribute("value");
  $("progress-bytes").textContent = !progress ? "Starting" : progress.phase === "download" && !done
    ? bytesText(progress.loadedBytes, total) : "Warming up";
  $("progress-left").textContent = progress?.phase === "download" && !done ? leftText(progress.remainingSeconds) : "";
}

hearth.addEventListener("change", () => {
  if (hearth.status === "ready") {
    meter.begin();
    announce("The model is ready.");
  } else {
    meter.rest();
    if (hearth.status === "loading") announce("Loading the model.");
  }
  const hadFocus = $("model-card").contains(document.activeElement);
  showModel();
  showProgress();
  if (hadFocus && document.activeElement === document.body) $("prompt").focus();
});
let progressFrame = 0;
hearth.addEventListener("progress", () => {
  progressFrame ||= requestAnimationFrame(() => { progressFrame = 0; showProgress(); });
});

function load() {
  hearth.load().catch(() => {}); // a failure is shown by the `change` event
}

function useCpu() {
  $("device-select").value = "cpu";
  hearth.switchDevice("cpu");
}

$("load").addEventListener("click", load);
$("cancel-load").addEventListener("click", () => {
  chat.stop();
  hearth.cancel();
});
$("device-select").addEventListener("change", (event) => {
  if (hearth.status === "ready") chat.stop();
  hearth.switchDevice(event.target.value);
  for (const { task } of Object.values(rooms)) task.reset();
});

// --- the tabs, and the files that are dropped on them

const tabs = new Tabs($("tabs"));
const room = (name, make) => make({ panel: $(`panel-${name}`), device: () => $("device-select").value, announce });
const rooms = {
  network: room("network", networkTab),
  search: room("search", searchTab),
  ocr: room("ocr", ocrTab),
  voice: room("voice", voiceTab),
  files: room("files", filesTab),
};

/** Models go to their tab; other files to the tab that is shown, or to the one that is for their kind. */
function takeFiles(files) {
  const models = files.filter(({ name }) => /\.gguf$/i.test(name));
  if (models.length > 0) {
    if (hearth.status === "ready") chat.stop();
    $("settings").open = false;
    tabs.show("chat");
    hearth.choose(choiceOfFiles(models)).catch(() => {});
    return;
  }
  const fits = (name) => rooms[name]?.accepts(files[0]);
  const name = fits("network") ? "network" : fits(tabs.current) ? tabs.current : ["ocr", "voice", "files"].find(fits);
  tabs.show(name);
  rooms[name].accept(files);
}

acceptFiles({ overlay: $("drop-overlay"), input: $("file"), onFiles: takeFiles });
tabs.addEventListener("change", () => {
  if (tabs.current !== "voice") rooms.voice.leave();
  for (const details of disclosures) details.open = false;
});
for (const id of ["choose-file", "choose-file-hero"]) $(id).addEventListener("click", () => $("file").click());

addEventListener("step", ({ detail: step, target }) => {
  const inAnswer = target.closest(".message") !== null;
  if (step === "file") $("file").click();
  if (step === "new-chat") newChat();
  if (step === "reload") location.reload();
  if (step === "cpu") useCpu();
  if ((step === "cpu" || step === "retry") && inAnswer) chat.regenerate();
  else if (step === "cpu" || step === "retry") load();
});

// --- the composer

const prompt = $("prompt");

/** Fits the field to its text where CSS cannot. */
function fitPrompt() {
  if (CSS.supports("field-sizing", "content")) return;
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function showComposer() {
  const moved = document.activeElement === $("send") || document.activeElement === $("stop");
  $("send").hidden = chat.answering;
  $("stop").hidden = !chat.answering;
  $("send").disabled = prompt.value.trim() === "";
  document.documentElement.toggleAttribute("data-answering", chat.answering);
  $("hero").hidden = !chat.empty;
  $("conversation").hidden = chat.empty;
  placeCard(hearth.status === "failed" && $("card-error").hidden);
  fitPrompt();
  if (moved) prompt.focus();
}

function send() {
  const text = prompt.value.trim();
  if (text === "" || !chat.send(text)) return;
  prompt.value = "";
  showComposer();
}

function newChat() {
  chat.clear();
  showModel();
  prompt.focus();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
prompt.addEventListener("input", showComposer);
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
$("stop").addEventListener("click", () => chat.stop());
$("new-chat").addEventListener("click", newChat);
$("suggestions").addEventListener("click", (event) => {
  const chip = event.target.closest(".chip");
  if (chip && chat.send(chip.textContent)) prompt.focus();
});
chat.addEventListener("change", showComposer);

// --- disclosures close by Escape and by a click elsewhere; Escape stops an answer when none is open

const disclosures = [$("settings"), $("requests-box")];
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  const open = disclosures.find((details) => details.open);
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  } else {
    chat.stop();
  }
});
addEventListener("pointerdown", (event) => {
  for (const details of disclosures) if (details.open && !details.contains(event.target)) details.open = false;
});

showModel();
showProgress();
showComposer();
if (matchMedia("(pointer: fine)").matches && tabs.current === "chat") prompt.focus();
if (new URLSearchParams(location.search).get("autoload") === "1") load();
