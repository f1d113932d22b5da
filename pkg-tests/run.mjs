// Packs the tarball, installs it into consumers (plain page, Vite, webpack, esbuild, Node), and drives each
// in a real Chromium. Ends with "N passed, N failed"; a failure makes the exit status 1.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { build as esbuild } from 'esbuild';
import { chromium } from 'playwright-core';
import { build as vite, createServer as viteServer } from 'vite';
import webpack from 'webpack';
import { modelPath } from '../crate/xtask/node/models.mjs';
import { at } from '../crate/xtask/node/paths.mjs';
import { serve } from '../crate/xtask/node/serve.mjs';
import * as demo from './demo.mjs';
import * as rooms from './demo_tasks.mjs';
import { readCases, readExceptions, runCases, suiteFolder, summary, tally, untrue } from './onnx/conformance.mjs';
import { measured } from './memory.mjs';
import { findBrowser } from '../crate/xtask/node/setup.mjs';

const out = at('pkg-tests/out');
const CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
const url = '/models/smollm2-135m-q4_1.gguf';
let passed = 0;
let failed = 0;

/** `node pkg-tests/run.mjs TEXT` runs only the checks whose name has the text. */
const only = process.argv[2] ?? '';

async function check(name, work) {
  if (!name.includes(only)) return;
  const start = Date.now();
  try {
    const note = await work();
    passed++;
    console.log(`ok    ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)${note ? `: ${note}` : ''}`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}: ${error.stack ?? error}`);
  }
}

function command(cwd, name, ...args) {
  const { status, stdout, stderr, error } = spawnSync(name, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: ${error ?? stdout + stderr}`);
  return stdout;
}

fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });
const [{ filename }] = JSON.parse(command(at('.'), 'npm', 'pack', '--json', '--silent', '--pack-destination', out));
const tarball = path.join(out, filename);

/** The checks that run in pages. */
const PAGE = ['checks.mjs', 'encoders.mjs', 'networks.mjs', 'ort.mjs', 'stages.mjs', 'tasks.mjs', 'threads.mjs', 'truth.mjs'];

/** A folder with the package installed, a page, and its script. */
function consumer(name, specifier = 'homefire') {
  const folder = path.join(out, name);
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
  command(folder, 'npm', 'install', '--silent', '--offline', '--no-audit', '--no-fund', '--no-package-lock', tarball);
  for (const file of [...PAGE, 'onnx/messages.mjs', 'onnx/page.mjs']) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.copyFileSync(at(`pkg-tests/${file}`), path.join(folder, file));
  }
  fs.writeFileSync(path.join(folder, 'index.html'), '<!doctype html><meta charset="utf-8"><title>consumer</title><script type="module" src="./main.js"></script>');
  const faceOf = (part) => specifier.replace(/index\.js$/, `${part}.js`).replace(/^homefire$/, `homefire/${part}`);
  const imports = PAGE.map((file) => `import * as ${path.parse(file).name}Checks from './${file}';\n`).join('');
  fs.writeFileSync(path.join(folder, 'main.js'),
    `import * as homefire from ${JSON.stringify(specifier)};\nimport * as ort from ${JSON.stringify(faceOf('ort'))};\nimport * as taskFace from ${JSON.stringify(faceOf('tasks'))};\nimport * as suite from './onnx/page.mjs';\n${imports}` +
    `const all = { ${PAGE.map((file) => `...${path.parse(file).name}Checks`).join(', ')}, ...suite };\n` +
    'globalThis.run = (name, options) => all[name]({ ...homefire, ...taskFace, ort }, options);\n');
  return folder;
}

const launch = (args = []) =>
  chromium.launch({ executablePath: findBrowser(), args: ['--no-sandbox', '--disable-quic', ...args] });
const browser = await launch();

/** Opens a consumer's page and runs one of the checks in it. */
async function drive(folder, name, { using = browser, device = 'cpu', csp = true, isolate = true, elsewhere, ...more } = {}) {
  const roots = { '/': folder, '/models/': path.dirname(modelPath), '/tiny/': at('crate/tests/data/tiny'), '/reference/': at('crate/tests/data/reference'), '/onnx-data/': at('crate/tests/data/onnx'), '/encoders/': at('crate/tests/data/encoders'), '/samples/': at('www/samples') };
  const server = await serve({ roots, isolate, headers: csp ? { 'Content-Security-Policy': CSP } : {} });
  const page = await using.newPage();
  const foreign = [];
  page.on('request', (r) => {
    if (!r.url().startsWith(server.origin) && !r.url().startsWith('blob:') && !r.url().startsWith(elsewhere)) foreign.push(r.url());
  });
  if (elsewhere) {
    // Another origin: what there is of the reference, and the package.
    await page.route(`${elsewhere}/**`, (route) => {
      const name = new URL(route.request().url()).pathname;
      const file = name.startsWith('/reference/') ? at(`crate/tests/data${name}`) : path.join(folder, 'node_modules/homefire/dist', name);
      return route.fulfill({ path: file, headers: { 'Access-Control-Allow-Origin': '*' } });
    });
  }
  try {
    await page.goto(`${server.origin}/index.html`);
    await page.waitForFunction(() => globalThis.run, undefined, { timeout: 20_000 });
    const work = page.evaluate(([check, options]) => globalThis.run(check, options), [name, { url, device, elsewhere, tiny: '/tiny/qwen3-q8_0.gguf', ...more }]);
    const late = new Promise((_, reject) => setTimeout(reject, 600_000, new Error('it took over ten minutes')).unref());
    const result = await Promise.race([work, late]);
    if (foreign.length > 0) throw new Error(`requests elsewhere: ${foreign.join(', ')}`);
    return result;
  } finally {
    await page.close();
    server.close();
  }
}
/** Runs the parity suite of one build. */
async function parity(folder, device, using) {
  fs.writeFileSync(path.join(folder, 'index.html'), '<!doctype html><meta charset="utf-8"><title>parity</title>');
  const server = await serve({ roots: { '/': folder } });
  const page = await using.newPage();
  try {
    await page.goto(`${server.origin}/index.html`);
    const { passed, leftOut, failed } = await page.evaluate(async (device) => {
      const glue = await import('/homefire.js');
      await glue.default({ module_or_path: '/homefire_bg.wasm' });
      return glue.runParity(device);
    }, device);
    if (failed.length > 0) throw new Error(failed.join('\n'));
    const lost = leftOut.filter((left) => device !== 'webgpu' || !/the GPU has no kernel for/.test(left));
    if (passed < 200 || lost.length > 0) throw new Error(`${passed} cases, left out: ${leftOut.join('; ')}`);
    return `${passed} cases`;
  } finally {
    await page.close();
    server.close();
  }
}
const say = ({ text, info }) => `${JSON.stringify(text)} on ${info.device.kind}, ${info.device.variant}`;

/** The smoke check on the CPU, and a small model on WebGPU. */
async function both(folder) {
  await drive(folder, 'rounds', { using: softwareGpu, device: 'webgpu', n: 1, close: true });
  return `${say(await drive(folder, 'smoke'))}; WebGPU too`;
}

const plain = consumer('plain', './node_modules/homefire/dist/index.js');
await check('plain page', async () => say(await drive(plain, 'smoke')));
const softwareGpu = await launch(['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']);
await check('plain page, a software adapter is not taken unasked', async () => {
  const { text, info } = await drive(plain, 'smoke', { using: softwareGpu, device: 'auto' });
  if (info.device.kind !== 'cpu' || !/software/.test(info.device.reason)) throw new Error(JSON.stringify(info.device));
  return say({ text, info });
});
await check('WebGPU says what the CPU says', () => drive(plain, 'gpu', { using: softwareGpu }));
await check('canary: WebGPU where there is none', async () => {
  const error = await drive(plain, 'gpu').then(() => null, (e) => e);
  if (!/adapter/.test(String(error))) throw new Error(`not the expected error: ${error}`);
});
await check('WebGPU: greedy tokens are the reference\'s', () =>
  drive(plain, 'greedy', { using: softwareGpu, device: 'webgpu', only: 'one-token', most: 6 }));
await check('WebGPU: scores are the CPU\'s', () => drive(plain, 'score', { using: softwareGpu }));
let variants;
for (const [device, using] of [['cpu', browser], ['quantised', browser], ['webgpu', softwareGpu]]) {
  for (const [i, name] of ['wasm-simd', 'wasm-relaxed'].entries()) {
    if (device === 'webgpu' && i === 0) continue;
    await check(`parity of every operator on ${device}, ${name}`, () => {
      variants ??= command(at('.'), 'cargo', 'run', '-q', '-p', 'xtask', '--', 'parity').trim().split('\n');
      const folder = variants.find((folder) => path.basename(path.dirname(folder)) === name);
      return parity(folder, device, using);
    });
  }
}
await check('WebGPU: Chromium compiles every shader', async () => {
  const shaders = JSON.parse(command(at('.'), 'cargo', 'run', '-q', '-p', 'homefire', '--example', 'shaders'));
  const canary = { name: 'canary', wgsl: '@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }' };
  const { compiled, failed } = await drive(plain, 'shaders', { using: softwareGpu, shaders: [...shaders, canary] });
  if (!failed.some((name) => name.startsWith('canary'))) throw new Error('a broken shader was compiled');
  if (failed.length > 1) throw new Error(failed.join('\n'));
  return `${compiled} variants`;
});
await check('threads', () => drive(plain, 'threads'));
await check('without isolation there is one thread, and the model says why', async () => {
  await drive(plain, 'smoke', { isolate: false });
  return drive(plain, 'fewerThreads', { isolate: false, count: 1, saying: 'not cross-origin isolated' });
});
/** A consumer whose workers begin with another script. */
function patched(name, script) {
  const folder = consumer(name, './node_modules/homefire/dist/index.js');
  const worker = path.join(folder, 'node_modules/homefire/dist/worker.js');
  fs.writeFileSync(worker, `${script}\n${fs.readFileSync(worker, 'utf8')}`);
  return folder;
}
/** Of the workers that a worker starts, the first has no script. */
const lame = patched('lame', '{ let n = 0; const Real = self.Worker; self.Worker = function (url, o) { return new Real(n++ ? url : "/missing.js", o); }; }');
await check('a thread that cannot start is done without', () =>
  drive(lame, 'fewerThreads', { wanted: 3, count: 2, saying: '2 threads: ' }));
/** In the code of threads, the dot product of relaxed SIMD (0xfd 0x112) is a trap. */
const trapping = patched('trapping', `if (self.name === 'homefire-thread') {
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (module, imports) => {
    const bytes = new Uint8Array(await (await fetch(new URL('homefire.relaxed-threads.wasm', location.href))).arrayBuffer());
    for (let at = 0; (at = bytes.indexOf(0xfd, at) + 1) > 0; ) if (bytes[at] === 0x92 && bytes[at + 1] === 0x02) bytes.set([0, 1, 1], at - 1);
    return instantiate(await WebAssembly.compile(bytes), imports);
  };
}`);
await check('a thread that traps fails the answer, and hangs nothing', () => drive(trapping, 'threadTraps'));
await check('without isolation two workers share a language model', () => drive(plain, 'stages', { isolate: false }));
await check('without isolation, a worker that cannot start is done without', () =>
  drive(lame, 'noStages', { isolate: false, saying: 'another worker could not start' }));
await check('without isolation, a worker with layers that fails', () =>
  drive(patched('failing', '{ let n = 0; self.addEventListener("message", ({ data }) => { if ("pass" in data && ++n === 3) throw new Error("out of luck"); }); }'), 'stageFails', { isolate: false }));
await check('canary: wrong activations are seen', async () => {
  const folder = patched('wrong', 'self.addEventListener("message", ({ data }) => { if (data.pass) data.pass.hidden[7] += 0.5; });');
  const error = await drive(folder, 'stages', { isolate: false }).then(() => null, (e) => e);
  if (!/answer 0 is/.test(String(error))) throw new Error(`not the expected error: ${String(error).slice(0, 300)}`);
});
await check('a network that its first run moves', () => {
  const name = 'isFallbackAdapter';
  const real = patched('real', `for (const { prototype } of [GPUAdapter, GPUAdapterInfo]) Object.defineProperty(prototype, '${name}', { get: () => false });`);
  return drive(real, 'deviceMoves', { using: softwareGpu });
});
await check('a model in shards', () => drive(plain, 'shards'));
await check('encoders', () => drive(plain, 'encoder'));
await check('MiniLM gives the reference\'s vectors', () => drive(plain, 'minilm'));
await check('MiniLM gives the reference\'s vectors on WebGPU', () => drive(plain, 'minilm', { using: softwareGpu, device: 'webgpu' }));
for (const [device, using] of [['cpu', browser], ['webgpu', softwareGpu]]) {
  for (const name of ['networks', 'wrongInputs', 'runs', 'kept', 'types', 'runtimes', 'dataFiles', 'endless', 'ortDevices']) {
    // Addresses of blobs, which one of them has, are not for a page whose policy allows its own origin alone.
    await check(`ONNX on ${device}: ${name}`, () => drive(plain, name, { using, device, csp: name !== 'dataFiles' }));
  }
}
await check('the benchmark\'s page times a network', async () => {
  const server = await serve({ roots: { '/': at('.'), '/models/': path.dirname(modelPath) } });
  const page = await browser.newPage();
  const spec = { job: 'network', workload: 'PP-OCR direction, 48 × 192', engine: '/pkg-tests/bench/homefire.mjs', models: '/models/', threads: 1, warm: 0, measure: 0 };
  try {
    await page.addInitScript((given) => (globalThis.benchSpec = given), spec);
    await page.goto(`${server.origin}/pkg-tests/bench/page.html`);
    await page.waitForFunction(() => globalThis.benchResult !== undefined, undefined, { timeout: 20_000 });
    const { ms, error } = await page.evaluate(() => globalThis.benchResult);
    if (!(ms > 0)) throw new Error(error ?? 'no time came');
  } finally {
    await page.close();
    server.close();
  }
});
await check('ONNX: what is cancelled', () => drive(plain, 'cancelled'));
await check('ONNX: what is cancelled, without shared memory', () => drive(plain, 'cancelled', { isolate: false }));
await check('ONNX: tensors', () => drive(plain, 'tensors'));
await check('ONNX: homefire/ort gives what onnxruntime-web gives', () => drive(plain, 'ortFace'));
for (const [name, saying] of [['networks', /element/], ['ortFace', /classify/]]) {
  await check(`canary: ${name} sees a wrong number`, async () => {
    const error = await drive(plain, name, { wrong: true }).then(() => null, (e) => e);
    if (!saying.test(String(error))) throw new Error(`not the expected error: ${error}`);
  });
}
const suite = suiteFolder();
if (suite) {
  const server = await serve({ roots: { '/suite/': suite, '/': plain } });
  const open = async () => {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/index.html`);
    await page.waitForFunction(() => globalThis.run, undefined, { timeout: 20_000 });
    return page;
  };
  const exceptions = readExceptions();
  await check('the ONNX project\'s backend tests pass, but for those that exceptions.json lists', async () => {
    const rows = await runCases(open, readCases(suite));
    const lines = untrue(rows, exceptions);
    if (lines.length > 0) throw new Error(`${summary(tally(rows, exceptions))}; exceptions.json is not true:\n${lines.join('\n')}`);
    return summary(tally(rows, exceptions));
  });
  await check('canary: the backend tests see wrong numbers and a wrong list', async () => {
    const some = readCases(suite).filter(({ kind, name }) => kind === 'node' && /^test_(add|argmax|cast|softmax|equal|concat|sub|relu)/.test(name));
    const rows = await runCases(open, some, { wrong: true });
    const passed = rows.filter(({ id, result }) => result === 'pass' && !exceptions.has(id));
    if (rows.length < 100 || passed.length > 0) throw new Error(`of ${rows.length} spoilt cases passed: ${passed.map(({ id }) => id)}`);
    const [{ id }] = rows;
    if (untrue([{ id, result: 'pass' }], new Map([[id, {}]]), false).length !== 1 || untrue([{ id, result: 'differs' }], new Map(), false).length !== 1) {
      throw new Error('a list that is not true was taken');
    }
  });
  server.close();
} else {
  console.warn('\n!!! The ONNX project\'s backend tests are left out: they need Python with onnx (pip install onnx==1.23.2), or HOMEFIRE_ONNX_SUITE.\n');
}
for (const [name, spoil] of [['fileTypes', 1], ['search', true], ['vad', 0.05], ['ocrNetworks', 0.01], ['ocrPage', 4]]) {
  await check(`task ${name}`, () => drive(plain, name));
  await check(`task ${name} on WebGPU`, () => drive(plain, name, { using: softwareGpu, device: 'webgpu', brief: true }));
  await check(`canary: a spoilt ${name} is seen`, async () => {
    const error = await drive(plain, name, { spoil, brief: true }).then(() => null, (e) => e);
    if (!/Error: /.test(String(error))) throw new Error('it passed');
    return String(error).split('\n')[0].slice(0, 120);
  });
}
await check('another origin', () => drive(plain, 'elsewhere', { elsewhere: 'https://elsewhere.example', csp: false, isolate: false }));
/** A browser that plays the sample for its microphone. */
const ears = await launch([
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-audio-capture=${at('www/samples/sound.wav')}`,
]);
await check('task microphone', () => drive(plain, 'microphone', { using: ears }));
await check('CPU: greedy tokens are the reference\'s', () => drive(plain, 'greedy'));
await check('CPU: perplexity', () => drive(plain, 'perplexity'));
await check('CPU: perplexity with plain SIMD', async () => {
  // As in a browser without relaxed SIMD: the module with its dot product (0xfd 0x112) is not valid.
  const folder = patched('simd', 'const { validate } = WebAssembly; WebAssembly.validate = (b) => !b.includes(0x92) && validate(b);');
  const told = await drive(folder, 'perplexity');
  if (!/on simd,/.test(told)) throw new Error(`another variant ran: ${told}`);
  return told;
});
const result = await drive(plain, 'full', { only }).catch((error) => ({ passed: [], failed: [String(error.stack)] }));
for (const name of result.passed) await check(`api: ${name}`, () => {});
for (const reason of result.failed) {
  failed++;
  console.log(`FAIL  api: ${reason}`);
}
/** By how many MB a browser grows while `n` models are loaded, after some to warm up. */
async function growth({ n, device, close }) {
  const { browser: using, memory } = await measured(launch, ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']);
  const page = await using.newPage();
  const server = await serve({ roots: { '/': plain, '/tiny/': at('crate/tests/data/tiny') } });
  try {
    await page.goto(`${server.origin}/index.html`);
    await page.waitForFunction(() => globalThis.run);
    const load = (n) => page.evaluate((options) => globalThis.run('rounds', options), { tiny: '/tiny/qwen3-q8_0.gguf', device, n, close });
    // Workers and the threads that they started end on their own time: until it grows smaller no more.
    const settled = async () => {
      for (let [before, rounds] = [Infinity, 0]; ; rounds++) {
        await page.requestGC();
        await new Promise((resolve) => setTimeout(resolve, 1500));
        const now = memory();
        if (now > before - 2 || rounds === 10) return now;
        before = now;
      }
    };
    await load(device === 'cpu' ? 10 : 4);
    const before = await settled();
    await load(n);
    return (await settled()) - before;
  } finally {
    await using.close();
    server.close();
  }
}
if (process.platform === 'linux') {
  for (const [device, n] of [['cpu', 100], ['webgpu', 16]]) {
    await check(`${n} models loaded and closed on ${device} leave nothing behind`, async () => {
      const grown = await growth({ n, device, close: true });
      // What threads leave for a while comes and goes, by tens of MB; models that are not closed are some 9 MB each on the
      // CPU, 29 on WebGPU.
      if (grown > 200) throw new Error(`the browser grew by ${grown.toFixed(0)} MB`);
      return `${grown.toFixed(1)} MB`;
    });
  }
  await check('canary: models that are not closed are seen', async () => {
    const grown = await growth({ n: 15, device: 'cpu', close: false });
    if (grown < 40) throw new Error(`15 open models were seen as ${grown.toFixed(0)} MB`);
    return `${grown.toFixed(0)} MB`;
  });
}
await check('canary: the page check sees a page that blocks', async () => {
  const page = await browser.newPage();
  try {
    const seen = await page.evaluate(() => new Promise((resolve) => {
      new PerformanceObserver((list) => resolve(list.getEntries()[0].duration)).observe({ type: 'longtask' });
      setTimeout(() => { for (const end = performance.now() + 120; performance.now() < end;); }, 10);
      setTimeout(resolve, 2000, 0);
    }));
    if (!(seen > 50)) throw new Error(`a block of 120 ms was seen as ${seen}`);
  } finally {
    await page.close();
  }
});

await check('Vite', async () => {
  const folder = consumer('vite');
  await vite({ root: folder, logLevel: 'error', configFile: false });
  return both(path.join(folder, 'dist'));
});
await check('Vite, its development server', async () => {
  const server = await viteServer({ root: path.join(out, 'vite'), logLevel: 'error', configFile: false, server: { port: 0, host: '127.0.0.1' } });
  await server.listen();
  const page = await browser.newPage();
  try {
    await page.goto(server.resolvedUrls.local[0]);
    await page.waitForFunction(() => globalThis.run, undefined, { timeout: 20_000 });
    // The development server answers for its own folder only, so the model comes as bytes.
    const bytes = fs.readFileSync(at('crate/tests/data/tiny/qwen3-q8_0.gguf')).toString('base64');
    return await page.evaluate(async (bytes) => {
      const tiny = new Blob([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))]);
      await globalThis.run('rounds', { tiny, device: 'cpu', n: 2, close: true });
      return 'a small model answers';
    }, bytes);
  } finally {
    await page.close();
    await server.close();
  }
});
await check('webpack', async () => {
  const folder = consumer('webpack');
  const config = { mode: 'production', context: folder, entry: './main.js', output: { path: path.join(folder, 'dist') } };
  await new Promise((resolve, reject) => webpack(config, (error, stats) =>
    error || stats.hasErrors() ? reject(error ?? new Error(stats.toString())) : resolve()));
  fs.copyFileSync(path.join(folder, 'index.html'), path.join(folder, 'dist/index.html'));
  return both(path.join(folder, 'dist'));
});
await check('esbuild', async () => {
  const folder = consumer('esbuild');
  await esbuild({ entryPoints: [path.join(folder, 'main.js')], bundle: true, format: 'esm', outdir: path.join(folder, 'dist'), logLevel: 'error' });
  fs.copyFileSync(path.join(folder, 'index.html'), path.join(folder, 'dist/index.html'));
  command(folder, path.join(folder, 'node_modules/.bin/homefire'), 'copy', 'dist');
  return both(path.join(folder, 'dist'));
});
await check('Node imports all of it and ends, load() says what is missing', () => {
  const folder = consumer('node');
  const code = "const [{ load }] = await Promise.all(['homefire', 'homefire/tasks', 'homefire/ort'].map((name) => import(name))); " +
    "try { await load('/model.gguf') } catch (e) { console.log(e.kind, e.message) }";
  const said = command(folder, 'timeout', '20', process.execPath, '--input-type=module', '-e', code);
  if (!/browser/.test(said)) throw new Error(said);
});
await check('canary: a package without its wasm is rejected', async () => {
  const folder = consumer('canary', './node_modules/homefire/dist/index.js');
  const dist = path.join(folder, 'node_modules/homefire/dist');
  for (const file of fs.readdirSync(dist)) if (file.endsWith('.wasm')) fs.rmSync(path.join(dist, file));
  const error = await drive(folder, 'smoke').then(() => null, (e) => e);
  if (!error) throw new Error('the checks passed without the wasm');
  if (!/could not be loaded/.test(String(error))) throw new Error(`another error than the expected: ${error}`);
});

for (const [name, look] of [
  ['light', { scheme: 'light', width: 1200, height: 800 }],
  ['dark', { scheme: 'dark', width: 390, height: 780 }],
]) {
  await check(`demo, ${name}: a chat`, () => demo.visit(browser, look, (page) => demo.chat(page, path.join(out, `demo-${name}.png`))));
}
const small = { scheme: 'light', width: 360, height: 640 };
await check('demo: stop, and begin anew', () => demo.visit(browser, small, demo.stopAndBegin));
await check('demo: a file that is no model', () => demo.visit(browser, small, demo.badFile));
await check('demo: no GPU where one is asked for', () => demo.visit(browser, small, demo.noGpu));
await check('demo: tabs by keyboard', () => demo.visit(browser, small, rooms.keys));
for (const [name, look] of [
  ['search', { scheme: 'light', width: 1200, height: 800 }],
  ['ocr', { scheme: 'dark', width: 1200, height: 900 }],
  ['voice', small],
  ['files', { scheme: 'dark', width: 360, height: 740 }],
  ['network', { scheme: 'light', width: 1200, height: 900 }],
]) {
  await check(`demo: ${name}`, () => demo.visit(browser, look, (page) => rooms[name](page, out)));
}
await check('demo: the microphone', () => demo.visit(ears, small, rooms.microphone));

for (const one of [softwareGpu, ears, browser]) await one.close();
console.log(`\n${passed} passed, ${failed} failed`);
if (passed + failed === 0) console.error(`No check has "${only}" in its name.`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
