// The engines that are measured, and the packages of those that are not this one: fetched as tarballs into a folder of
// their own, so that no install of this repository carries them.
import fs from 'node:fs';
import path from 'node:path';
import { at } from '../../crate/xtask/node/paths.mjs';
import { run } from '../../crate/xtask/node/run.mjs';

const FOLDER = at('target/bench-peers');

/** Folder under /peers/ → npm package and version. */
const PACKAGES = {
  wllama: ['@wllama/wllama', '3.13.0'],
  'onnxruntime-web': ['onnxruntime-web', '1.30.0'],
  transformers: ['@huggingface/transformers', '4.3.1'],
  // The one that this version of transformers.js wants.
  'transformers-ort': ['onnxruntime-web', '1.31.0-dev.20260914-8d85527a0'],
};

/** Name → its adapter, the kinds of job that it can do, and the packages that it needs. */
export const ENGINES = {
  homefire: { adapter: '/pkg-tests/bench/homefire.mjs', jobs: ['language', 'firstToken', 'network', 'texts'], packages: [] },
  wllama: { adapter: '/pkg-tests/bench/peers/wllama.mjs', jobs: ['language', 'firstToken'], packages: ['wllama'] },
  'onnxruntime-web': { adapter: '/pkg-tests/bench/peers/onnxruntime-web.mjs', jobs: ['network'], packages: ['onnxruntime-web'] },
  'transformers.js': { adapter: '/pkg-tests/bench/peers/transformers.mjs', jobs: ['texts'], packages: ['transformers', 'transformers-ort'] },
};

/** Installs what the named engines need; gives those that cannot be had, with the reason, and the versions of the others. */
export function installPeers(names) {
  const versions = {};
  const missing = {};
  for (const name of names) {
    try {
      for (const folder of ENGINES[name].packages) install(folder);
      const [first] = ENGINES[name].packages;
      if (first) versions[name] = PACKAGES[first].join(' ');
    } catch (error) {
      missing[name] = error.message;
    }
  }
  return { versions, missing };
}

/** The folder that the page has as /peers/. */
export const peersFolder = FOLDER;

function install(folder) {
  const [name, version] = PACKAGES[folder];
  const place = path.join(FOLDER, folder);
  const manifest = path.join(place, 'package.json');
  if (fs.existsSync(manifest) && JSON.parse(fs.readFileSync(manifest, 'utf8')).version === version) return;
  console.log(`Getting ${name} ${version} …`);
  const packed = path.join(FOLDER, 'packed');
  fs.rmSync(packed, { recursive: true, force: true });
  fs.mkdirSync(packed, { recursive: true });
  run('npm', ['pack', '--silent', '--pack-destination', packed, `${name}@${version}`], { shell: process.platform === 'win32', stdio: ['ignore', 'ignore', 'inherit'] });
  run('tar', ['-xzf', path.join(packed, fs.readdirSync(packed)[0]), '-C', packed]);
  fs.rmSync(place, { recursive: true, force: true });
  fs.renameSync(path.join(packed, 'package'), place);
  fs.rmSync(packed, { recursive: true });
}

/** Lays MiniLM out as transformers.js looks for it. */
export function shareMiniLm(models) {
  const hub = path.join(FOLDER, 'hub/minilm');
  fs.rmSync(hub, { recursive: true, force: true });
  fs.mkdirSync(path.join(hub, 'onnx'), { recursive: true });
  fs.writeFileSync(path.join(hub, 'tokenizer_config.json'), JSON.stringify({ tokenizer_class: 'BertTokenizer', model_max_length: 512, pad_token: '[PAD]', unk_token: '[UNK]', cls_token: '[CLS]', sep_token: '[SEP]', mask_token: '[MASK]' }));
  const files = { 'minilm.config.json': 'config.json', 'minilm.tokenizer.json': 'tokenizer.json', 'minilm-f32.onnx': 'onnx/model.onnx' };
  for (const [from, to] of Object.entries(files)) fs.copyFileSync(path.join(models, from), path.join(hub, to));
}
