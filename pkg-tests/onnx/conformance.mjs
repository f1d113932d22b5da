// The ONNX project's backend tests in Chromium, through the public API of the built package.
//   node pkg-tests/onnx/conformance.mjs [--only TEXT] [--device cpu|webgpu] [--out FILE] [--draft]
// runs dist/ on the suite in HOMEFIRE_ONNX_SUITE, or what generate.py beside this makes. exceptions.json lists every
// case that does not pass, with its reason; the run fails where that list is not exactly true. --draft rewrites it: known
// reasons stay, for others it puts what the run said, to be read and made a reason.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { at } from '../../crate/xtask/node/paths.mjs';
import { serve } from '../../crate/xtask/node/serve.mjs';
import { findBrowser } from '../../crate/xtask/node/setup.mjs';

/** The folder of the suite, made where Python has onnx; null where it is not to be had. */
export function suiteFolder() {
  const folder = process.env.HOMEFIRE_ONNX_SUITE || at('target/onnx-suite');
  if (fs.existsSync(path.join(folder, 'cases.json'))) return folder;
  for (const python of [process.env.PYTHON, 'python3', 'python'].filter(Boolean)) {
    if (spawnSync(python, ['-c', 'import onnx']).status !== 0) continue;
    const { status } = spawnSync(python, [at('pkg-tests/onnx/generate.py'), folder], { stdio: 'inherit' });
    return status === 0 ? folder : null;
  }
  return null;
}

export const readCases = (folder) => JSON.parse(fs.readFileSync(path.join(folder, 'cases.json'), 'utf8')).cases;

/** The exceptions, one a case: `{ scope: "in" | "out", reason, chance }`. With `chance`, random numbers decide, and it may pass. */
export function readExceptions() {
  const listed = new Map();
  for (const { scope, reason, chance = false, cases } of JSON.parse(fs.readFileSync(at('pkg-tests/onnx/exceptions.json'), 'utf8'))) {
    for (const name of cases) {
      if (listed.has(name)) throw new Error(`exceptions.json lists ${name} twice`);
      if (!reason || !['in', 'out'].includes(scope)) throw new Error(`exceptions.json: ${name} has no reason or no scope`);
      listed.set(name, { scope, reason, chance });
    }
  }
  return listed;
}

const idOf = ({ kind, name }) => `${kind}/${name}`;

/** Runs cases in pages that `open` gives, some hundred at a time; a page that breaks costs its case only. */
export async function runCases(open, cases, { device = 'cpu', wrong = false, report = () => {} } = {}) {
  const rows = [];
  let page = await open();
  const batch = 100;
  for (let from = 0; from < cases.length;) {
    // After a page broke, its cases go one by one.
    const some = cases.slice(from, from + (page.broken ? 1 : batch));
    try {
      const outcomes = await page.evaluate((options) => globalThis.run('conformance', options), { cases: some, device, wrong });
      rows.push(...some.map((one, i) => ({ id: idOf(one), ops: one.ops, expanded: one.expanded, kind: one.kind, ...outcomes[i] })));
      from += some.length;
      page.broken &&= from % batch !== 0;
      report(rows);
    } catch (error) {
      await page.close().catch(() => {});
      page = await open();
      if (some.length > 1) page.broken = true;
      else {
        rows.push({ id: idOf(some[0]), ops: some[0].ops, kind: some[0].kind, result: 'page broke', why: String(error).split('\n')[0] });
        from += 1;
        page.broken = true;
      }
    }
  }
  await page.close();
  return rows;
}

/** What is not as `exceptions` says, one line each; empty when it is exactly true. */
export function untrue(rows, exceptions, whole = true) {
  const lines = [];
  const ids = new Set(rows.map(({ id }) => id));
  for (const { id, result, why } of rows) {
    if (result === 'pass' && exceptions.has(id) && !exceptions.get(id).chance) lines.push(`${id} passes, and exceptions.json lists it`);
    if (result !== 'pass' && !exceptions.has(id)) lines.push(`${id}: ${result}: ${why}`);
  }
  if (whole) for (const id of exceptions.keys()) if (!ids.has(id)) lines.push(`exceptions.json lists ${id}, which is no case`);
  return lines;
}

/** The list of exceptions that would be true, grouped by reason. */
export function draft(rows, exceptions) {
  const groups = new Map();
  for (const { id, ops, result, why } of rows) {
    if (result === 'pass') continue;
    const own = ops.some((op) => OUT_OF_SCOPE.test(op));
    const { scope, reason } = exceptions.get(id) ?? { scope: own ? 'out' : 'in', reason: `${result}: ${why}`.slice(0, 200) };
    const key = `${scope} ${reason}`;
    if (!groups.has(key)) groups.set(key, { scope, reason, cases: [] });
    groups.get(key).cases.push(id);
  }
  return [...groups.values()].sort((a, b) => b.cases.length - a.cases.length);
}

/** Operators that this package does not mean to have: training, and the decoding of images. */
const OUT_OF_SCOPE = /^(ai\.onnx\.preview\.training\.|ImageDecoder$)/;

/** The counts: of all, of those in scope, of the kinds, and of each operator's own node tests. */
export function tally(rows, exceptions) {
  const count = (list) => ({ pass: list.filter(({ result }) => result === 'pass').length, of: list.length });
  const group = (key) => {
    const groups = {};
    for (const row of rows) if (key(row) !== undefined) (groups[key(row)] ??= []).push(row);
    return Object.fromEntries(Object.keys(groups).sort().map((name) => [name, count(groups[name])]));
  };
  return {
    all: count(rows),
    inScope: count(rows.filter(({ id }) => exceptions.get(id)?.scope !== 'out')),
    kinds: group(({ kind }) => kind),
    operators: group(({ kind, expanded, ops }) => (kind === 'node' && !expanded ? ops[0] : undefined)),
  };
}

export const summary = ({ all, inScope, operators }) => {
  const counts = Object.values(operators);
  const whole = counts.filter(({ pass, of }) => pass === of).length;
  const share = (100 * inScope.pass) / inScope.of;
  return `${all.pass} of all ${all.of}; ${inScope.pass} of the ${inScope.of} in scope (${share.toFixed(2)} %); ${whole} of ${counts.length} operators wholly`;
};

async function main() {
  const args = process.argv.slice(2);
  const option = (name, otherwise) => (args.includes(`--${name}`) ? args[args.indexOf(`--${name}`) + 1] : otherwise);
  const folder = suiteFolder();
  if (!folder) throw new Error('There is no suite: pip install onnx, or name its folder in HOMEFIRE_ONNX_SUITE.');
  const device = option('device', 'cpu');
  const only = option('only', '');
  const cases = readCases(folder).filter((one) => idOf(one).includes(only));
  const browser = await chromium.launch({
    executablePath: findBrowser(),
    args: ['--no-sandbox', '--disable-quic', ...(device === 'webgpu' ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'] : [])],
  });
  const server = await serve({ roots: { '/suite/': folder, '/': at('.') } });
  const open = async () => {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/pkg-tests/onnx/page.html`);
    await page.waitForFunction(() => globalThis.run);
    return page;
  };
  const start = Date.now();
  const seconds = () => `${((Date.now() - start) / 1000).toFixed(0)} s`;
  const rows = await runCases(open, cases, {
    device,
    report: (rows) => console.error(`${rows.length}/${cases.length}, ${rows.filter(({ result }) => result === 'pass').length} pass, ${seconds()}`),
  });
  await browser.close();
  server.close();
  const exceptions = readExceptions();
  const counts = tally(rows, exceptions);
  for (const [operator, { pass, of }] of Object.entries(counts.operators)) console.log(`${operator.padEnd(36)} ${pass}/${of}`);
  const lines = untrue(rows, exceptions, only === '');
  for (const line of lines) console.log(line);
  if (option('out')) fs.writeFileSync(option('out'), `${JSON.stringify({ counts, rows: rows.filter(({ result }) => result !== 'pass') }, null, 1)}\n`);
  if (args.includes('--draft') && only === '') {
    fs.writeFileSync(at('pkg-tests/onnx/exceptions.json'), `${JSON.stringify(draft(rows, exceptions), null, 1)}\n`);
  }
  console.log(`${summary(counts)}, in ${seconds()} on ${device}; exceptions.json is ${lines.length === 0 ? 'true' : `untrue in ${lines.length} cases`}`);
  process.exit(lines.length === 0 ? 0 : 1);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
