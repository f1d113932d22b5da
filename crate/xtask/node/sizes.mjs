// The download is a feature: what dist/ weighs, brotli-compressed, held to its budget.
import fs from 'node:fs';
import zlib from 'node:zlib';
import { at } from './paths.mjs';
import { fail } from './run.mjs';

const BUDGET = { wasm: 800_000, js: 40_000 };

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
const jsTotal = js.reduce((sum, { packed }) => sum + packed, 0);
console.log(`${'JavaScript in all'.padEnd(24)}${' '.repeat(14)}${kb(jsTotal)} brotli (at most ${BUDGET.js / 1000})`);
const over = wasm.filter(({ packed }) => packed > BUDGET.wasm).map(({ file }) => file);
if (jsTotal > BUDGET.js) over.push('the JavaScript');
if (over.length > 0) fail(`Over budget: ${over.join(', ')}. A wasm may weigh ${BUDGET.wasm / 1000} KB brotli, the JavaScript ${BUDGET.js / 1000} KB.`);
