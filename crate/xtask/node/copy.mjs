#!/usr/bin/env node
// `npx homefire copy FOLDER`: puts the workers and the wasm beside a bundle whose bundler does not (esbuild).
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const [task, folder] = process.argv.slice(2);
if (task !== 'copy' || !folder) {
  console.error('usage: npx homefire copy FOLDER   puts worker.js, microphone-worklet.js and the wasm files into FOLDER');
  process.exit(1);
}
const dist = fileURLToPath(new URL('../../../dist/', import.meta.url));
fs.mkdirSync(folder, { recursive: true });
for (const file of fs.readdirSync(dist).filter((f) => f === 'worker.js' || f === 'microphone-worklet.js' || f.endsWith('.wasm'))) {
  fs.copyFileSync(path.join(dist, file), path.join(folder, file));
}
