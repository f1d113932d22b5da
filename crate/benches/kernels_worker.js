// Runs the cases of kernel-bench in a worker, as the package runs its kernels. More threads are workers of this script on
// the same memory, which serve the pool.

/** How long a case is called in the first pass, which is for V8 to compile its functions for speed, ms. */
const WARM = 300;
/** How long it is called before it is timed in each later one. */
const AGAIN = 50;
/** How long a sample takes at least, ms. */
const SAMPLE = 15;
const SAMPLES = 7;
/** Samples of a peak beside those of a kernel. */
const BESIDE = 3;

self.onmessage = ({ data }) => (data.serve ? serve(data) : measure(data)).catch((error) => self.postMessage({ error: String(error.stack ?? error) }));

async function serve({ glue: url, module, memory }) {
  const glue = await import(url);
  await glue.default({ module_or_path: module, memory });
  glue.enterThread();
  self.postMessage({ ready: true });
  glue.serve();
}

async function measure({ glue: url, threads, only, rounds }) {
  const glue = await import(url);
  const module = await WebAssembly.compileStreaming(fetch(url.replace(/\.js$/, '_bg.wasm')));
  const { memory } = await glue.default({ module_or_path: module });
  await Promise.all(Array.from({ length: threads - 1 }, () => new Promise((resolve, reject) => {
    const worker = new Worker(self.location.href, { type: 'module' });
    worker.onmessage = ({ data }) => (data.ready ? resolve() : reject(new Error(data.error)));
    worker.postMessage({ serve: true, glue: url, module, memory });
  })));
  const works = glue.works();
  const cases = glue.names().map((text, index) => {
    const [kind, name] = text.split('\t');
    const [floats, integers, memory, cache] = works.slice(4 * index);
    return { index, kind, name, work: { floats, integers, memory, cache }, rounds: [] };
  }).filter(({ kind, name }) => kind === 'peak' || only.split(',').some((part) => `${kind} ${name}`.includes(part)));
  // Whole rounds, so that a slow spell of the machine is spread over all cases.
  for (let round = 0; round <= rounds; round++) {
    for (const { index, kind, work, rounds: measured } of cases) {
      // Neighbours on the machine come and go: what it does at most is measured beside each kernel.
      const peaks = round > 0 && kind !== 'peak' ? peaksOf(glue, cases, work) : {};
      glue.prepare(index);
      const times = timesOf(glue.run, round === 0 ? WARM : AGAIN, SAMPLES);
      if (round > 0) measured.push({ times, peaks });
    }
  }
  self.postMessage({ cases });
}

/** The most of each kind of `work`, a millisecond, that the machine does now. */
function peaksOf(glue, cases, work) {
  const most = {};
  for (const peak of cases.filter(({ kind }) => kind === 'peak')) {
    const [counted, amount] = Object.entries(peak.work).find(([, amount]) => amount > 0);
    if (work[counted] === 0) continue;
    glue.prepare(peak.index);
    most[counted] = Math.max(most[counted] ?? 0, amount / Math.min(...timesOf(glue.run, AGAIN, BESIDE)));
  }
  return most;
}

/** Calls for `warm` ms, then times so many samples: milliseconds a call. */
function timesOf(run, warm, samples) {
  let calls = 1;
  const once = () => {
    const start = performance.now();
    run(calls);
    return (performance.now() - start) / calls;
  };
  const end = performance.now() + warm;
  let each = once();
  while (performance.now() < end) {
    calls = Math.max(1, Math.ceil(SAMPLE / Math.max(each, 1e-4)));
    each = once();
  }
  calls = Math.max(1, Math.ceil(SAMPLE / Math.max(each, 1e-4)));
  return Array.from({ length: samples }, once);
}
