// Times every kernel in Chromium, on one thread and on two, beside what the same machine does at most in the same run.
//   node crate/benches/kernels.mjs [--only TEXT,TEXT] [--rounds N] [--threads 1,2] [--json FILE] [--markdown FILE]
// `--markdown docs/KERNELS.md` makes the table of the documentation anew.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { at } from '../xtask/node/paths.mjs';
import { serve } from '../xtask/node/serve.mjs';
import { findBrowser } from '../xtask/node/setup.mjs';
import { markdown, row, rowsOf } from './kernels_table.mjs';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' }, rounds: { type: 'string', default: '2' }, threads: { type: 'string', default: '1,2' },
    json: { type: 'string' }, markdown: { type: 'string' },
  },
});
const threads = options.threads.split(',').map(Number);
const folders = execFileSync('cargo', ['run', '-q', '-p', 'xtask', '--', 'kernels'], { cwd: at('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const [plain, threaded] = folders.trim().split('\n');
const server = await serve({ roots: { '/': at('crate/benches'), '/plain/': plain, '/threaded/': threaded } });
const browser = await chromium.launch({ executablePath: findBrowser(), args: ['--no-sandbox'] });

/** All cases on `n` threads, in a page of their own: `[{ kind, name, work, rounds }]`, a round being times in ms a call, and the peaks beside them. */
async function measure(n) {
  const page = await browser.newPage();
  try {
    await page.goto(`${server.origin}/kernels.html`);
    return await page.evaluate((job) => new Promise((resolve, reject) => {
      const worker = new Worker('/kernels_worker.js', { type: 'module' });
      worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.cases));
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(job);
    }), { glue: n === 1 ? '/plain/kernel_bench.js' : '/threaded/kernel_bench.js', threads: n, only: options.only, rounds: Number(options.rounds) });
  } finally {
    await page.close();
  }
}

try {
  const measured = [];
  for (const n of threads) {
    for (const [index, { kind, name, work, rounds }] of (await measure(n)).entries()) {
      measured[index] ??= { kind, name, work, rounds: {} };
      measured[index].rounds[n] = rounds;
    }
  }
  const rows = rowsOf(measured, threads);
  const machine = `${os.cpus().length}-core ${os.arch()} machine (${os.cpus()[0].model.trim()}), Chromium ${browser.version()}`;
  const date = new Date().toISOString().slice(0, 10);
  rows.forEach((one) => console.log(row(one, threads)));
  if (options.json) fs.writeFileSync(options.json, `${JSON.stringify({ date, machine, rounds: Number(options.rounds), rows }, null, 1)}\n`);
  if (options.markdown) {
    fs.mkdirSync(path.dirname(path.resolve(options.markdown)), { recursive: true });
    fs.writeFileSync(options.markdown, markdown(rows, threads, { date, machine, rounds: options.rounds }));
  }
} finally {
  await browser.close();
  server.close();
}
