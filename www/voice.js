// Where somebody speaks, in a file or at the microphone: the probability of speech as a strip, and the stretches of it.
import { Task, element, sample, timeText } from "./task.js";

/** How long one probability stands for, and how much of a live stream is in view. */
const CHUNK_S = 0.032;
const LIVE_S = 10;

/** "1:02.4", "3.2 s" */
const clock = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`);

/** The tab of voice: `accept(files)` takes a sound. */
export function voiceTab({ panel, device, announce }) {
  const [canvas, list, result, stopButton, micButton] = ["#voice-strip", "#voice-segments", "#voice-result", "#voice-stop", "#voice-mic"].map((id) => panel.querySelector(id));
  const context = canvas.getContext("2d");
  const state = { probabilities: [], segments: [], since: undefined, live: false, seconds: 0 };
  let frame = 0;
  const task = new Task({
    slot: panel.querySelector(".task-state"),
    note: "Silero VAD · 2 MB · loads with the first sound",
    device,
    announce,
    open: async ({ loadVad, openMicrophone }, options) => {
      const vad = await loadVad("/models/silero-vad.onnx", options);
      return { vad, openMicrophone, close: () => vad.close() };
    },
  });

  function begin(live) {
    Object.assign(state, { probabilities: [], segments: [], since: undefined, live, seconds: 0 });
    result.hidden = false;
    show();
  }

  function take({ probabilities, segments }, since) {
    state.probabilities.push(...probabilities);
    state.segments.push(...segments);
    state.since = since;
    state.seconds = state.probabilities.length * CHUNK_S;
    frame ||= requestAnimationFrame(show);
  }

  function show() {
    frame = 0;
    draw();
    list.replaceChildren(...state.segments.slice(-12).map(({ start, end }) => {
      const item = element("li", "segment", element("span", "", `${clock(start)} – ${clock(end)}`), element("span", "muted", `${(end - start).toFixed(1)} s`));
      item.dataset.test = "segment";
      return item;
    }));
    const spoken = state.segments.reduce((sum, { start, end }) => sum + end - start, 0);
    canvas.setAttribute("aria-label", `Probability of speech over ${state.seconds.toFixed(1)} seconds; ${state.segments.length} stretches of speech, ${spoken.toFixed(1)} seconds in all`);
  }

  function draw() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(panel);
    const [ember, soft, glow, line] = ["--ember", "--soft", "--glow", "--line"].map((name) => style.getPropertyValue(name).trim());
    const span = state.live ? LIVE_S : Math.max(1, state.seconds);
    const from = state.live ? Math.max(0, state.seconds - LIVE_S) : 0;
    const [top, bottom] = [10, height - 22];
    const x = (seconds) => ((seconds - from) / span) * width;
    const y = (p) => bottom - p * (bottom - top);
    const open = state.since === undefined ? [] : [{ start: state.since, end: state.seconds }];
    context.fillStyle = glow;
    for (const { start, end } of [...state.segments, ...open]) {
      if (end < from) continue;
      context.fillRect(x(Math.max(start, from)), top - 6, x(end) - x(Math.max(start, from)), bottom - top + 6);
    }
    context.strokeStyle = line;
    context.fillStyle = soft;
    context.lineWidth = 1;
    context.font = `12px ${style.fontFamily}`;
    context.textBaseline = "bottom";
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(0, y(0.5));
    context.lineTo(width, y(0.5));
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(0, bottom + 0.5);
    context.lineTo(width, bottom + 0.5);
    context.stroke();
    const step = [0.5, 1, 2, 5, 10, 30, 60, 300, 600].find((seconds) => span / seconds <= width / 56) ?? 1800;
    for (let t = Math.ceil(from / step) * step; t <= from + span; t += step) {
      const text = t < 60 ? `${t} s` : `${Math.floor(t / 60)}:${String(Math.round(t % 60)).padStart(2, "0")}`;
      context.textAlign = x(t) < 14 ? "left" : x(t) > width - 14 ? "right" : "center";
      context.fillText(text, Math.min(Math.max(x(t), 0), width), height - 2);
    }
    if (state.probabilities.length === 0) return;
    const first = Math.max(0, Math.floor(from / CHUNK_S));
    context.beginPath();
    context.moveTo(x(first * CHUNK_S), bottom);
    for (let i = first; i < state.probabilities.length; i++) context.lineTo(x((i + 0.5) * CHUNK_S), y(state.probabilities[i]));
    const end = x((state.probabilities.length - 0.5) * CHUNK_S);
    context.strokeStyle = ember;
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(end, bottom);
    context.closePath();
    context.globalAlpha = 0.15;
    context.fillStyle = ember;
    context.fill();
    context.globalAlpha = 1;
  }

  const told = () => {
    const spoken = state.segments.reduce((sum, { start, end }) => sum + end - start, 0);
    return `${state.segments.length} ${state.segments.length === 1 ? "stretch" : "stretches"} of speech, ${spoken.toFixed(1)} of ${state.seconds.toFixed(1)} s`;
  };

  const detect = (file) => task.run(async ({ vad }, signal, tell) => {
    begin(false);
    tell(`Listening to “${file.name}”…`);
    const start = performance.now();
    await vad.detect(file, { signal, onHeard: (heard) => signal.aborted || take(heard) });
    return `${told()}, found in ${timeText(performance.now() - start)}`;
  });

  let endLive = () => {};
  const listen = () => task.run(async ({ vad, openMicrophone }, signal, tell) => {
    begin(true);
    tell("Waiting for the microphone…");
    let stream;
    let failed = () => {};
    const over = new Promise((resolve, reject) => {
      endLive = resolve;
      failed = reject;
      signal.addEventListener("abort", resolve, { once: true });
    });
    const microphone = await openMicrophone((samples, rate) => {
      stream ??= vad.stream({ rate });
      stream.push(samples).then((heard) => signal.aborted || take(heard, stream.speakingSince), failed);
    });
    try {
      stopButton.hidden = false;
      micButton.hidden = true;
      tell("Listening. Say something.");
      await over;
    } finally {
      stopButton.hidden = true;
      micButton.hidden = false;
      await microphone.close();
    }
    if (stream) take(await stream.end());
    return told();
  });

  micButton.addEventListener("click", listen);
  stopButton.addEventListener("click", () => endLive());
  panel.querySelector("#voice-sample").addEventListener("click", async () => detect(await sample("sound.wav")));
  const input = panel.querySelector("#voice-file");
  panel.querySelector("#voice-choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) detect(file);
  });
  new ResizeObserver(() => { frame ||= requestAnimationFrame(show); }).observe(canvas);
  return { task, accepts: ({ type }) => /^(audio|video)\//.test(type), accept: ([file]) => detect(file), leave: () => endLive() };
}
