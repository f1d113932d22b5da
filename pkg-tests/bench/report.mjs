// What the runs come to: medians over rounds, ratios of medians, and tables of them.
import fs from 'node:fs';
import { at } from '../../crate/xtask/node/paths.mjs';

/** What a run of each job says: name of a row, unit, whether more is better, and the value. */
const METRICS = {
  language: (size) => [
    ...size.map((n) => ({ row: `reads ${n} tokens`, unit: 'tokens/s', more: true, of: (run) => run.prefill[n] })),
    { row: 'writes', unit: 'tokens/s', more: true, of: (run) => run.decode },
  ],
  firstToken: () => [
    { row: 'first visit', unit: 'ms', more: false, of: (run) => run.at.token },
    { row: 'second visit', unit: 'ms', more: false, of: (run) => run.again.token },
  ],
  network: () => [{ row: '', unit: 'ms', more: false, of: (run) => run.ms }],
  texts: () => [{ row: '', unit: 'ms', more: false, of: (run) => run.ms }],
};

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}
function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

const median = (values) => quantile(values, 0.5);
/** Half the distance of the quartiles, as a share of the median. */
const spread = (values) => (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);

const metricsOf = (run) => METRICS[run.job](Object.keys(run.prefill ?? {}));

/** A run in a line. */
export function lines(run) {
  if (run.error) return `failed: ${run.error}`;
  const parts = metricsOf(run).map(({ row, unit, of }) => `${row} ${of(run).toPrecision(4)} ${unit}`.trim());
  const others = run.others > 0.02 ? [`others took ${Math.round(run.others * 100)} % of the machine`] : [];
  return [...parts, ...(run.peakMiB === null ? [] : [`${run.peakMiB} MiB`]), ...others].join(', ');
}

/**
 * A row of each workload, number of threads and metric: of each engine the median, its spread over rounds and the memory;
 * how many times as fast as each peer this package is, and the most that others took of the machine.
 */
export function rowsOf(runs) {
  const rows = [];
  const groups = groupBy(runs, ({ workload, threads }) => `${workload}\t${threads}`);
  for (const group of groups.values()) {
    const good = group.filter(({ error }) => !error);
    if (good.length === 0) continue;
    for (const { row, unit, more, of } of metricsOf(good[0])) {
      const engines = {};
      for (const [engine, own] of groupBy(good, ({ engine }) => engine)) {
        const values = own.map(of);
        const memory = own.map(({ peakMiB }) => peakMiB).filter((mib) => mib !== null);
        engines[engine] = { median: median(values), spread: spread(values), rounds: values.length, ...(memory.length > 0 && { memoryMiB: median(memory) }) };
      }
      const { homefire, ...peers } = engines;
      const times = (peer) => (more ? homefire.median / peer.median : peer.median / homefire.median);
      const faster = homefire ? Object.fromEntries(Object.entries(peers).map(([name, peer]) => [name, times(peer)])) : {};
      const { workload, job, threads } = group[0];
      rows.push({ workload, job, threads, row, unit, engines, faster, others: Math.max(...good.map(({ others }) => others ?? 0)) });
    }
  }
  const place = ({ job }) => Object.keys(METRICS).indexOf(job);
  return rows.sort((a, b) => place(a) - place(b));
}

/** What engines are seen to compute otherwise than the others: one line each. */
export function disagreements(runs) {
  const lines = new Set();
  for (const group of groupBy(runs.filter(({ means }) => means), ({ workload }) => workload).values()) {
    for (const { workload, engine, means } of group) {
      const differ = Object.entries(group[0].means).some(([name, mean]) => !(Math.abs(means[name] - mean) <= 0.01 * Math.abs(mean) + 1e-4));
      if (differ) lines.add(`${workload}: ${engine} gives other numbers than ${group[0].engine}`);
    }
  }
  return [...lines];
}

const shown = (value, unit) => `${value >= 100 ? Math.round(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${unit}`;
const table = (head, body) => [`| ${head.join(' | ')} |`, `|${head.map((_, i) => (i === 0 ? '---|' : '---:|')).join('')}`, ...body.map((cells) => `| ${cells.join(' | ')} |`)].join('\n');

/** JS and wasm that a visitor downloads, packed by gzip, of each engine. */
function downloads(runs) {
  const sizes = groupBy(runs.filter(({ code }) => code), ({ engine }) => engine);
  return [...sizes].map(([engine, own]) => `${engine} ${(Math.max(...own.map(({ code }) => code.gzip)) / 1e6).toFixed(1)} MB`);
}

/** The rows of workloads that the same peers do, as one table. */
function besides(peers, rows) {
  const threads = [...new Set(rows.map(({ threads }) => threads))].sort();
  const head = ['', ...threads.flatMap((n) => [`Homefire, ${n} thread${n === 1 ? '' : 's'}`, ...peers.flatMap((name) => [name, 'faster'])]), 'memory, MiB'];
  const body = [...groupBy(rows, ({ workload, row }) => (row ? `${workload}: ${row}` : workload))].map(([name, own]) => {
    const cells = threads.flatMap((n) => {
      const { engines = {}, faster = {}, unit } = own.find((one) => one.threads === n) ?? {};
      const cell = (engine) => (engine ? shown(engine.median, unit) + (engine.rounds > 1 ? ` ±${Math.round(engine.spread * 100)} %` : '') : '');
      const times = (x) => (x === undefined ? '' : `${x.toFixed(x >= 10 ? 1 : 2)} ×`);
      return [cell(engines.homefire), ...peers.flatMap((name) => [cell(engines[name]), times(faster[name])])];
    });
    const { engines } = own.at(-1);
    return [name, ...cells, ['homefire', ...peers].map((name) => Math.round(engines[name]?.memoryMiB ?? 0) || '–').join(' / ')];
  });
  return table(head, body);
}

/** The table, with the date, the machine, and what was measured. */
export function markdown({ date, machine, browser, isolated, versions, rows, runs }) {
  const all = rows.flatMap(({ engines }) => Object.values(engines).map((one) => one.rounds));
  const [least, rounds] = [Math.min(...all), Math.max(0, ...all)];
  const peersOf = ({ engines }) => Object.keys(engines).filter((name) => name !== 'homefire').join(', ');
  const tables = [...groupBy(rows, peersOf)].map(([peers, own]) => besides(peers.split(', ').filter(Boolean), own));
  const means = [...groupBy(rows.filter(({ job, faster }) => job === 'network' && faster['onnxruntime-web']), ({ threads }) => threads)]
    .map(([threads, own]) => `${Math.exp(own.reduce((sum, { faster }) => sum + Math.log(faster['onnxruntime-web']), 0) / own.length).toFixed(2)} × on ${threads} thread${threads === 1 ? '' : 's'}`);
  const failures = [...disagreements(runs).map((line) => `- ${line}`), ...runs.filter(({ error }) => error).map(({ engine, workload, threads, error }) => `- ${engine}, ${workload}, ${threads} threads: ${error}`)];
  const drafted = runs.map((run) => run.drafted).filter((share) => share !== undefined);
  const notes = [
    `\`npm run bench\` on ${date}: ${machine}, ${browser}, the page ${isolated ? 'cross-origin isolated' : 'without the isolation headers'}; medians of ${least < rounds ? `${least} to ` : ''}${rounds} round${rounds === 1 ? '' : 's'}${rounds > 1 ? ', ± half the distance of the quartiles' : ''}.`,
    Object.keys(versions).length > 0 ? `Peers: ${Object.values(versions).join(', ')}.` : '',
    means.length > 0 ? `Networks, geometric mean: ${means.join(', ')}.` : '',
    runs.length > 0 ? `Code to download, gzip: ${downloads(runs).join(', ')}. First token: from the navigation on, model and code from a server on the same machine.` : '',
    drafted.length > 0 ? `Of the tokens that Homefire wrote, drafts had ${Math.round(median(drafted) * 100)} %.` : '',
    `Others took at most ${Math.round(Math.max(0, ...rows.map(({ others }) => others)) * 100)} % of the machine during a measurement.`,
  ].filter(Boolean).join(' ');
  return [notes, ...tables, ...(failures.length > 0 ? [`Failed:\n${failures.join('\n')}`] : [])].join('\n\n') + '\n';
}

const MARKERS = ['<!-- made by `npm run bench -- --readme` -->', '<!-- until here -->'];

/** Puts the table between its markers in the README. */
export function intoReadme(report) {
  const readme = fs.readFileSync(at('README.md'), 'utf8');
  const [start, end] = MARKERS.map((marker) => readme.indexOf(marker));
  if (start < 0 || end < start) throw new Error(`README.md has no markers:\n${MARKERS.join('\n')}`);
  fs.writeFileSync(at('README.md'), `${readme.slice(0, start + MARKERS[0].length)}\n${markdown(report)}${readme.slice(end)}`);
}
