// The download is a feature: what dist/ weighs, brotli-compressed, held to its budget.
import fs from 'node:fs';
import zlib from 'node:zlib';
import { at } from './paths.mjs';
import { fail } from './run.mjs';

/** By file, in bytes; what is not named here belongs to the core. */
const BUDGET = { wasm: 1_200_000, core: 40_000, 'ort.js': 8_000, 'tasks.js': 12_000 };

const weigh = (file) => {
  const bytes = fs.readFileSync(at('dist', file));
  const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: 11, [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return { file, raw: bytes.length, packed: zlib.brotliCompressSync(bytes, { params }).length };
};
const files = fs.readdirSync(at('dist'));
const wasm = files.filter((f) => f.endsWith('.wasm')).map(weigh);
const js = files.filter((f) => f.endsWith('.js')).map(weigh);
if (wasm.length === 0 || js.length === 0) fail('dist/ is empty: `npm run build` first.');
const kb = (n) => `${(n / 1000).toFixed(1)} KB`.padStart(10);
for (const { file, raw, packed } of [...wasm, ...js]) console.log(`${file.padEnd(24)}${kb(raw)} raw${kb(packed)} brotli`);
const parts = {};
for (const { file, packed } of js) parts[BUDGET[file] ? file : 'core'] = (parts[BUDGET[file] ? file : 'core'] ?? 0) + packed;
for (const [part, packed] of Object.entries(parts)) console.log(`${`JavaScript, ${part}`.padEnd(24)}${' '.repeat(14)}${kb(packed)} brotli (at most ${BUDGET[part] / 1000})`);
const over = wasm.filter(({ packed }) => packed > BUDGET.wasm).map(({ file }) => `${file} (at most ${BUDGET.wasm / 1000} KB)`);
for (const [part, packed] of Object.entries(parts)) if (packed > BUDGET[part]) over.push(`${part} (at most ${BUDGET[part] / 1000} KB)`);
if (over.length > 0) fail(`Over budget, brotli-compressed: ${over.join(', ')}.`);
