// `npm run bench`: this package and its peers on the same models in the same browser. Engines take turns, each measurement
// has a browser of its own, and what comes out are medians over rounds.
//   npm run bench -- [--only TEXT,TEXT] [--rounds 5] [--threads 1,2] [--warm 4] [--engines a,b] [--no-isolate]
//                    [--models FOLDER] [--out FOLDER] [--add] [--readme] [--no-build]
// `--add` keeps the runs of earlier calls in the same --out, so that parts may be measured one by one; `--readme` puts the
// table into the README.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { parseArgs } from 'node:util';
import { ensureModels } from '../../crate/xtask/node/get_models.mjs';
import { at } from '../../crate/xtask/node/paths.mjs';
import { fail } from '../../crate/xtask/node/run.mjs';
import { serve } from '../../crate/xtask/node/serve.mjs';
import { setUpBrowser } from '../../crate/xtask/node/setup.mjs';
import { open } from './browser.mjs';
import { build, makeMiniLm } from './build.mjs';
import { ENGINES, installPeers, peersFolder, shareMiniLm } from './peers.mjs';
import { intoReadme, lines, markdown, rowsOf } from './report.mjs';
import { languageModel, networks, sentences } from './workloads.mjs';

const text = (value) => ({ type: 'string', default: value });
const flag = { type: 'boolean', default: false };
const { values: options } = parseArgs({
  options: {
    only: text(''), rounds: text('5'), threads: text('1,2'), warm: text('4'), engines: text(Object.keys(ENGINES).join()),
    models: text(at('models')), out: text(at('target/bench')), 'no-isolate': flag, 'no-build': flag, add: flag, readme: flag,
  },
});

/** What is measured: the name, the job in the page, and the files of models that it needs. */
const WORKLOADS = [
  { name: languageModel.name, job: 'language', files: [languageModel.file] },
  { name: `${languageModel.name}, first token`, job: 'firstToken', files: [languageModel.file] },
  ...Object.entries(networks).map(([name, { file }]) => ({ name, job: 'network', files: [file] })),
  { name: `MiniLM, ${sentences.length} sentences`, job: 'texts', files: ['minilm.safetensors', 'minilm-f32.onnx'] },
];

/** JS and wasm that the page fetched since the last visit: bytes, and as gzip packs them. */
const fetched = new Map();
const gzipped = new Map();
function codeSize() {
  const size = { bytes: 0, gzip: 0 };
  for (const file of fetched.keys()) {
    if (!gzipped.has(file)) gzipped.set(file, zlib.gzipSync(fs.readFileSync(file)).length);
    size.bytes += fs.statSync(file).size;
    size.gzip += gzipped.get(file);
  }
  return size;
}

/** One measurement in a browser of its own; a first token is measured at a first visit and at a second. */
async function measure(origin, spec) {
  fetched.clear();
  const browser = await open();
  try {
    const page = await browser.context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.addInitScript((given) => (globalThis.benchSpec = given), spec);
    const others = browser.watch();
    const visit = async () => {
      await page.goto(`${origin}/pkg-tests/bench/page.html`);
      await page.waitForFunction(() => globalThis.benchResult !== undefined, undefined, { timeout: 30_000 });
      const late = new Promise((_, reject) => setTimeout(reject, 600_000, new Error('it took over ten minutes')).unref());
      const result = await Promise.race([page.evaluate(() => globalThis.benchResult), late]);
      if (result.error) throw new Error([result.error, ...errors].join('; '));
      return result;
    };
    const result = await visit();
    const measured = { ...result, peakMiB: browser.peakMiB(), code: codeSize() };
    if (spec.job === 'firstToken') measured.again = (await visit()).at;
    return { ...measured, others: others(), version: await browser.version() };
  } finally {
    await browser.close();
  }
}

async function main() {
  setUpBrowser();
  if (!options['no-build']) build();
  const wanted = options.only.split(',');
  const asked = WORKLOADS.filter(({ name }) => wanted.some((part) => name.toLowerCase().includes(part.toLowerCase())));
  if (asked.length === 0) throw new Error(`--only ${options.only} names none of:\n${WORKLOADS.map(({ name }) => name).join('\n')}`);
  if (path.resolve(options.models) === at('models')) (await ensureModels()).forEach((failure) => console.warn(`\n!!! ${failure}`));
  const inTheWay = makeMiniLm(options.models);
  if (inTheWay) console.warn(inTheWay);
  const isThere = (file) => fs.existsSync(path.join(options.models, file));
  const workloads = asked.filter(({ name, files }) => {
    const missing = files.filter((file) => !isThere(file));
    if (missing.length > 0) console.warn(`Left out: ${name}. ${missing.join(' and ')} not in ${options.models}.`);
    return missing.length === 0;
  });
  const unknown = options.engines.split(',').filter((name) => !ENGINES[name]);
  if (unknown.length > 0) throw new Error(`--engines knows ${Object.keys(ENGINES).join(', ')}, not ${unknown.join(', ')}`);
  const useful = options.engines.split(',').filter((name) => workloads.some(({ job }) => ENGINES[name].jobs.includes(job)));
  const { versions, missing } = installPeers(useful);
  for (const [name, why] of Object.entries(missing)) console.warn(`Left out: ${name}, which could not be installed (${why}).`);
  const engines = useful.filter((name) => !missing[name]);
  if (engines.includes('transformers.js')) shareMiniLm(options.models);

  const models = path.resolve(options.models);
  const roots = { '/': at('.'), '/peers/': peersFolder, '/hub/': path.join(peersFolder, 'hub'), '/models/': models };
  const onFile = ({ url, file }) => /\.(m?js|wasm)$/.test(file) && !url.startsWith('/pkg-tests/') && fetched.set(file, url);
  const server = await serve({ roots, isolate: !options['no-isolate'], onFile });
  const spec = { models: '/models/', warm: Number(options.warm) * 1000, measure: 2000, sentences };
  if (workloads.some(({ job }) => job === 'language' || job === 'firstToken')) {
    const license = fs.readFileSync(at('LICENSE-APACHE'), 'utf8');
    spec.prompts = await measure(server.origin, { ...spec, job: 'tokenise', engine: ENGINES.homefire.adapter, text: license, sizes: languageModel.prompts });
  }

  const file = path.join(options.out, 'bench.json');
  const before = options.add && fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : { runs: [], versions: {} };
  const { runs } = before;
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const { name, job } of workloads) {
      for (const threads of options.threads.split(',').map(Number)) {
        const able = engines.filter((engine) => ENGINES[engine].jobs.includes(job));
        // Who comes first changes from round to round.
        for (const engine of round % 2 ? able.reverse() : able) {
          const given = { ...spec, job, workload: name, threads, engine: ENGINES[engine].adapter };
          const result = await measure(server.origin, given).catch((error) => ({ error: error.message }));
          runs.push({ round, workload: name, job, threads, engine, ...result });
          console.log(`${round + 1}/${options.rounds}  ${name}, ${threads} thread${threads === 1 ? '' : 's'}, ${engine}: ${lines(runs.at(-1))}`);
        }
      }
    }
  }
  server.close();
  const report = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${os.cpus().length}-core ${os.arch()} machine (${os.cpus()[0]?.model.trim()})`,
    browser: runs.findLast(({ version }) => version)?.version ?? 'no browser',
    isolated: !options['no-isolate'], versions: { ...before.versions, ...versions }, rows: rowsOf(runs), runs,
  };
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
  fs.writeFileSync(path.join(options.out, 'bench.md'), markdown(report));
  console.log(`\n${markdown(report)}\nWritten to ${options.out}: bench.json, bench.md.`);
  if (options.readme) intoReadme(report);
}

await main().catch(fail);
