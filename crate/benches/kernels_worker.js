// Runs the cases of kernel-bench in a worker, as the package runs its kernels. More threads are workers of this script on
// the same memory, which serve the pool.

/** How long a case is called in the first pass, which is for V8 to compile its functions for speed, ms. */
const WARM = 300;
/** How long it is called before it is timed in each later one. */
const AGAIN = 50;
/** How long a sample takes at least, ms. */
const SAMPLE = 15;
const SAMPLES = 7;

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
    return { index, kind, name, work: { floats, integers, memory, cache }, times: [] };
  }).filter(({ kind, name }) => kind === 'peak' || only.split(',').some((part) => `${kind} ${name}`.includes(part)));
  // Whole rounds, so that a slow spell of the machine is spread over all cases.
  for (let round = 0; round <= rounds; round++) {
    for (const { index, times } of cases) {
      glue.prepare(index);
      const measured = timesOf(glue.run, round === 0 ? WARM : AGAIN);
      if (round > 0) times.push(...measured);
    }
  }
  self.postMessage({ cases });
}

/** Calls for `warm` ms, then times: milliseconds a call. */
function timesOf(run, warm) {
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
  return Array.from({ length: SAMPLES }, once);
}
