// What runs in a consumer's page: the tasks against the stored answers of the reference implementations. Every check also
// takes `spoil`, which breaks what it looks at: then it must fail.
function assert(condition, what) {
  if (!condition) throw new Error(what);
}
const reference = async () => (await fetch('/reference/tasks.json')).json();
const picture = async (name) => createImageBitmap(await (await fetch(name)).blob());
const OCR = { detection: '/models/ocr-det.onnx', direction: '/models/ocr-cls.onnx', recognition: '/models/ocr-rec.onnx' };
const MAGIKA = { model: '/models/magika.onnx', config: '/models/magika.config.json', types: '/models/magika.types.json' };
const MINILM = ['config.json', 'tokenizer.json', 'safetensors'].map((name) => `/models/minilm.${name}`);

/** The grey values of a picture. */
async function greys(name) {
  const bitmap = await picture(name);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, grey: (x, y) => data[(y * width + x) * 4] };
}

/** `n` pictures of grey values as a network wants them. */
function batch(n, height, width, grey) {
  const data = new Float32Array(n * 3 * height * width);
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) data[((i * 3 + c) * height + y) * width + x] = grey(i, x, y) / 127.5 - 1;
      }
    }
  }
  return { type: 'float32', dims: [n, 3, height, width], data };
}

async function only(model, feeds) {
  const [output] = Object.values(await model.run(feeds));
  return output;
}

/** The networks of OCR by themselves: the map of the page, the lines' characters, their direction; in brief, two lines. */
export async function ocrNetworks({ load }, { device, spoil = 0, brief = false }) {
  const { detection, recognition, direction } = await reference();
  const told = brief ? [] : [await map(load, device, spoil, detection)];
  const n = brief ? 2 : recognition.length;
  const lines = await greys('/reference/lines.png');
  const strip = (i, x, y) => lines.grey(x, i * 48 + y);
  const rec = await load(OCR.recognition, { device });
  const characters = ['', ...rec.info.metadata.character.split('\n'), ' '];
  const { dims, data } = await only(rec, { x: batch(n, 48, 320, strip) });
  await rec.close();
  const [, steps, classes] = dims;
  for (const [i, { argmax }] of recognition.slice(0, n).entries()) {
    const got = argmax.map((_, step) => {
      const row = data.subarray((i * steps + step) * classes, (i * steps + step + 1) * classes);
      return row.indexOf(Math.max(...row)) + spoil;
    });
    const wrong = got.findIndex((id, step) => id !== argmax[step]);
    assert(wrong < 0, `line ${i}, step ${wrong}: ${characters[got[wrong]]}, not ${characters[argmax[wrong]]}`);
  }
  told.push(`${n} lines`);
  const cls = await load(OCR.direction, { device });
  const turned = (i, x, y) => (i < n ? strip(i, x, y) : strip(i - n, 319 - x, 47 - y));
  const out = await only(cls, { x: batch(2 * n, 48, 192, turned) });
  await cls.close();
  const half = recognition.length;
  const wanted = [...direction.slice(0, n), ...direction.slice(half, half + n)].flat();
  const off = Math.max(...wanted.map((p, i) => Math.abs(out.data[i] + spoil - p)));
  assert(off < 1e-3, `the directions differ by ${off}`);
  return [...told, `directions within ${off.toExponential(0)}`].join(', ');
}

/** The detector's map of the page. */
async function map(load, device, spoil, detection) {
  const page = await greys('/reference/page.png');
  const det = await load(OCR.detection, { device });
  const { data } = await only(det, { x: batch(1, 640, 640, (_, x, y) => page.grey(x, y)) });
  await det.close();
  const worst = Math.max(...detection.digest.at.map(([i, p]) => Math.abs(data[i] + spoil - p)));
  assert(worst < 1e-3, `the map of probabilities differs by ${worst}`);
  const over = data.filter((p) => p > 0.3).length;
  assert(Math.abs(over - detection['pixels_over_0.3']) <= 4, `${over} pixels over 0.3`);
  return `map within ${worst.toExponential(0)}`;
}

/** How many letters are to be changed, put in or left out to make `b` of `a`. */
function edits(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

/** A strip of the page, for GPUs of software: its lines among those of the reference, and where they lie. */
const STRIP = { lines: [5, 7], top: 310, bottom: 520 };

/**
 * A page as RapidOCR reads it, its boxes and scores too; then on its head, turned by a quarter, and slanted; in brief, two
 * lines of it.
 */
export async function ocrPage({ loadOcr }, { device, spoil = 0, brief = false }) {
  const wanted = (await reference()).page.slice(...(brief ? STRIP.lines : []));
  const ocr = await loadOcr(OCR, { device });
  const page = await picture('/reference/page.png');
  const turned = (angle, size = 640) => {
    const canvas = new OffscreenCanvas(size, size);
    const context = canvas.getContext('2d');
    context.fillStyle = '#f5f5f5';
    context.fillRect(0, 0, size, size);
    context.translate(size / 2, size / 2);
    context.rotate((angle * Math.PI) / 180);
    context.drawImage(page, -320, -320);
    if (brief) {
      context.fillRect(-320, -320, 640, STRIP.top);
      context.fillRect(-320, STRIP.bottom - 320, 640, 640 - STRIP.bottom);
    }
    return canvas;
  };
  const exactly = (lines, what) => {
    const [got, want] = [lines, wanted].map((list) => JSON.stringify(list.map(({ text }) => text)));
    assert(got === want, `${what}: ${got}, not ${want}`);
  };
  const nearly = async (angle, size) => {
    const left = (await ocr.read(turned(angle, size))).map(({ text }) => text.replace(/\s/g, ''));
    assert(left.length === wanted.length, `turned by ${angle} there are ${left.length} lines: ${JSON.stringify(left)}`);
    let off = 0;
    for (const { text } of wanted) off += Math.min(...left.map((line) => edits(line, text.replace(/\s/g, ''))));
    assert(off <= 5, `turned by ${angle}, ${off} letters are wrong: ${JSON.stringify(left)}`);
    return off;
  };
  try {
    const boxes = [];
    const found = await ocr.read(turned(spoil), { onBoxes: (all) => boxes.push(...all) });
    const { busyMs, longestMs } = ocr.pace;
    exactly(found, 'the page');
    const far = Math.max(...found.flatMap(({ box }, i) => box.flatMap((point, j) => point.map((x, axis) => Math.abs(x - wanted[i].box[j][axis])))));
    const unlike = Math.max(...found.map(({ score }, i) => Math.abs(score - wanted[i].score)));
    assert(boxes.length === wanted.length && far <= 3, `a corner is ${far} pixels off`);
    assert(unlike < 0.06, `a score is ${unlike} off`);
    const told = [`${found.length} lines, corners within ${far.toFixed(1)} pixels, scores within ${unlike.toFixed(3)}`];
    if (!brief) {
      exactly(await ocr.read(await turned(0).convertToBlob()), 'the page as a file');
      for (const [angle, size] of [[180, 640], [8, 760], [90, 640]]) told.push(`turned by ${angle}: ${await nearly(angle, size)} letters off`);
      assert((await ocr.read(new ImageData(64, 64))).length === 0, 'an empty picture has text');
      // Black on nothing, as drawings and screenshots may be.
      const pixels = turned(0).getContext('2d').getImageData(0, 0, 640, 640);
      for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([0, 0, 0, 255 - pixels.data[i]], i);
      exactly(await ocr.read(pixels), 'the page as ink alone');
      const stop = new AbortController();
      const kind = await ocr.read(page, { signal: stop.signal, onBoxes: () => stop.abort() }).then(() => 'none', (error) => error.kind);
      assert(kind === 'cancelled', `a cancelled reading: ${kind}`);
      const wrong = await ocr.read(new File(['no picture'], 'notes.png')).then(() => 'none', (error) => error.kind);
      assert(wrong === 'format', `no picture: ${wrong}`);
    }
    return [...told, `the page is busy for ${busyMs.toFixed(0)} ms, at most ${longestMs.toFixed(1)} ms in one piece`].join('; ');
  } finally {
    await ocr.close();
  }
}

/** The probabilities of 100 chunks, pushed in pieces of any size; the stretches; other rates; a file. */
export async function vad({ loadVad }, { device, spoil = 0, brief = false }) {
  const { silero } = await reference();
  const bytes = await (await fetch('/samples/sound.wav')).arrayBuffer();
  const samples = Float32Array.from(new Int16Array(bytes.slice(44)), (v) => v / 32768 + spoil);
  const detector = await loadVad('/models/silero-vad.onnx', { device });
  try {
    const stream = detector.stream();
    const heard = [];
    for (let at = 0, n = 1; at < samples.length; at += n, n = (n * 7 + 311) % 3000) heard.push(stream.push(samples.subarray(at, at + n)));
    heard.push(stream.end());
    const all = (await Promise.all(heard)).flatMap(({ probabilities }) => probabilities);
    assert(all.length === silero.length, `${all.length} probabilities of ${silero.length} chunks`);
    const worst = Math.max(...all.map((p, i) => Math.abs(p - silero[i])));
    assert(worst < 1e-4, `the probabilities differ by ${worst}`);
    const segments = (await Promise.all(heard)).flatMap((some) => some.segments);
    const rules = stretches(silero, samples.length);
    assert(JSON.stringify(segments) === JSON.stringify(rules), `${JSON.stringify(segments)}, not ${JSON.stringify(rules)}`);
    const told = [];
    if (!brief) {
      const file = await detector.detect(new Blob([bytes]));
      assert(file.probabilities.every((p, i) => Math.abs(p - silero[i]) < 1e-3), 'from a file the probabilities are others');
      assert(JSON.stringify(file.segments) === JSON.stringify(rules), 'from a file the stretches are others');
      const bare = await detector.detect({ samples, rate: 16000 });
      assert(JSON.stringify(bare.segments) === JSON.stringify(rules), 'from samples the stretches are others');
      for (const wrong of [samples, null, { samples: [0], rate: 16000 }, { samples }]) {
        const kind = await detector.detect(wrong).then(() => 'none', (error) => error.kind);
        assert(kind === 'invalid-input', `what is no sound: ${kind}`);
      }
      for (const rate of [48000, 44100, 22050]) {
        const buffer = new AudioBuffer({ length: Math.floor((samples.length * rate) / 16000), sampleRate: rate, numberOfChannels: 2 });
        for (const channel of [0, 1]) buffer.copyToChannel(interpolated(samples, 16000 / rate, buffer.length), channel);
        const other = await detector.detect(buffer);
        const apart = other.probabilities.slice(0, 100).reduce((sum, p, i) => sum + Math.abs(p - silero[i]), 0) / 100;
        assert(apart < 0.02 && other.segments.length === rules.length, `at ${rate} Hz the probabilities are ${apart} off on average, the stretches ${JSON.stringify(other.segments)}`);
        told.push(`at ${rate} Hz ${apart.toFixed(4)} off on average`);
      }
    }
    return [`${all.length} chunks within ${worst.toExponential(1)}, ${segments.length} stretches`, ...told].join(', ');
  } finally {
    await detector.close();
  }
}

/** Samples between the samples, by a long windowed sinc. */
function interpolated(samples, step, n) {
  return Float32Array.from({ length: n }, (_, i) => {
    const at = i * step;
    let sum = 0;
    for (let k = Math.ceil(at) - 48; k < at + 48; k++) {
      const t = (at - k) * Math.PI;
      if (samples[k] !== undefined) sum += samples[k] * (t === 0 ? 1 : (Math.sin(t) / t) * Math.cos(t / 96) ** 2);
    }
    return sum;
  });
}

/** Silero's own rules on a whole list of probabilities, as its get_speech_timestamps has them. */
function stretches(probabilities, length) {
  const [pad, minSpeech, minSilence] = [480, 4000, 1600];
  const found = [];
  let [start, silence] = [-1, 0];
  for (const [i, p] of probabilities.entries()) {
    const at = i * 512;
    if (p >= 0.5) {
      silence = 0;
      if (start < 0) start = at;
    } else if (p < 0.35 && start >= 0) {
      silence ||= at;
      if (at - silence < minSilence) continue;
      if (silence - start > minSpeech) found.push({ start, end: silence });
      [start, silence] = [-1, 0];
    }
  }
  if (start >= 0 && length - start > minSpeech) found.push({ start, end: length });
  found.forEach((one, i) => {
    const next = found[i + 1];
    if (i === 0) one.start = Math.max(0, one.start - pad);
    const gap = next ? next.start - one.end : Infinity;
    const by = gap < 2 * pad ? Math.floor(gap / 2) : pad;
    one.end = Math.min(length, one.end + by);
    if (next) next.start -= by;
  });
  return found.map(({ start, end }) => ({ start: start / 16000, end: end / 16000 }));
}

/** Sound through the microphone; the browser plays a file for it. */
export async function microphone({ loadVad, openMicrophone }, { device }) {
  const detector = await loadVad('/models/silero-vad.onnx', { device });
  let stream;
  const heard = [];
  const mic = await openMicrophone((samples, rate) => {
    stream ??= detector.stream({ rate });
    heard.push(stream.push(samples));
  }, { echoCancellation: false, noiseSuppression: false, autoGainControl: false });
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await mic.close();
  const probabilities = (await Promise.all(heard)).flatMap((some) => some.probabilities);
  await detector.close();
  const [most, least] = [Math.max(...probabilities), Math.min(...probabilities)];
  assert(probabilities.length > 100 && most > 0.7 && least < 0.1, `${probabilities.length} chunks, from ${least} to ${most}`);
  return `${probabilities.length} chunks at ${mic.rate} Hz, from ${least.toFixed(3)} to ${most.toFixed(3)}`;
}

/** Another origin has a picture, which the page shows and may not read, and the package, which cannot start its worker. */
export async function elsewhere({ loadOcr }, { elsewhere }) {
  const image = new Image();
  image.src = `${elsewhere}/reference/page.png`;
  await image.decode();
  const ocr = await loadOcr(OCR, { device: 'cpu' });
  const error = await ocr.read(image).then(() => null, (e) => e);
  await ocr.close();
  assert(error?.kind === 'invalid-input' && /crossOrigin/.test(error.message), `a picture from elsewhere: ${error}`);
  const { load } = await import(/* @vite-ignore */ /* webpackIgnore: true */ `${elsewhere}/index.js`);
  const refused = await load(OCR.direction).then(() => null, (e) => e);
  assert(refused?.kind === 'fetch' && /own origin/.test(refused.message), `the package from elsewhere: ${refused}`);
  return refused.message;
}

/** Labels and scores of the reference's texts, and the rules for few bytes, large files and doubtful ones. */
export async function fileTypes({ loadFileType }, { device, spoil = 0 }) {
  const { magika } = await reference();
  const wrong = await loadFileType(MAGIKA, { device, network: 'off' }).then(() => 'none', (error) => error.kind);
  assert(wrong === 'invalid-input', `network: "off" gives ${wrong}`);
  const files = await loadFileType(MAGIKA, { device, threads: 1 });
  try {
    let worst = 0;
    for (const { kind, text, label, score } of magika) {
      const got = await files.identify(new Blob([spoil ? text.slice(20) : text]));
      assert(got.label === label, `${kind} is ${got.label}, not ${label}`);
      worst = Math.max(worst, Math.abs(got.score - score));
    }
    assert(worst < 1e-4, `the scores differ by ${worst}`);
    const is = async (content, label, what) => {
      const got = await files.identify(content instanceof Blob ? content : new Blob([content]));
      assert(got.label === label, `${what} is ${got.label} (${got.score}), not ${label}`);
      return got;
    };
    await is('', 'empty', 'nothing');
    await is('  hi \n', 'txt', 'two letters');
    await is(Uint8Array.of(255, 254, 0, 200), 'unknown', 'four bytes');
    await is(' '.repeat(5000), 'txt', 'spaces');
    const png = await (await fetch('/reference/page.png')).blob();
    const { mime, group, guess } = await is(png, 'png', 'a picture');
    assert(mime === 'image/png' && group === 'image' && guess === 'png', `${mime}, ${group}, ${guess}`);
    await is(await (await fetch('/samples/sound.wav')).blob(), 'wav', 'a sound');
    await is(await (await fetch('/models/magika.types.json')).blob(), 'json', 'a list');
    const head = magika.find(({ kind }) => kind === 'python').text;
    await is(new Blob([`\n\n${head}`, head.repeat(60), '  \n']), 'python', 'a long program');
    return `${magika.length} texts, scores within ${worst.toExponential(1)}`;
  } finally {
    await files.close();
  }
}

/** The nearest passages come first; a text falls into passages that keep its words. */
export async function search({ loadSearch, passagesOf }, { device, spoil = false }) {
  const text = `The cat sits on the mat. It has slept there since noon.\n\nStock markets fell sharply on Monday. Investors sold shares of banks.\n\n` +
    `To reset your password, open the settings and choose “Forgotten”. ${'A very long sentence goes on and on '.repeat(30)}.\n\nBread rises because yeast makes gas.`;
  const passages = passagesOf(text, 40);
  assert(passages.every((passage) => passage.split(' ').length <= 40), 'a passage is too long');
  assert(passages.join(' ').replace(/\s+/g, ' ') === text.replace(/\s+/g, ' ').trim(), 'words were lost');
  const found = await loadSearch(MINILM, { device });
  try {
    let told = 0;
    await found.index(passages, { onProgress: (done) => { told = done; } });
    assert(told === passages.length && found.size === passages.length, `${told} of ${passages.length} were told`);
    for (const [query, word] of [['A feline rests upon a rug', 'cat'], ['What did the economy do?', 'Stock'], ['I cannot log in', 'password'], ['baking', 'yeast']]) {
      const hits = await found.search(spoil ? 'baking' : query, 3);
      assert(hits.length === 3 && hits[0].score >= hits[1].score && hits[1].score >= hits[2].score, 'the hits are not in order');
      assert(hits[0].text.includes(word) && passages[hits[0].index] === hits[0].text, `“${query}” finds “${hits[0].text}”`);
    }
    return `${passages.length} passages`;
  } finally {
    await found.close();
  }
}
