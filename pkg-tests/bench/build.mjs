// Builds what is missing in dist/, or older than its sources, and makes the model that no package ships.
import fs from 'node:fs';
import path from 'node:path';
import { at } from '../../crate/xtask/node/paths.mjs';
import { run } from '../../crate/xtask/node/run.mjs';
import { onnxPython, setUpBuild } from '../../crate/xtask/node/setup.mjs';

const SOURCES = ['crate/src', 'crate/js', 'crate/build.rs', 'crate/Cargo.toml', 'crate/xtask', 'shaders', 'Cargo.lock'];
const BUILT = ['index.js', 'worker.js', 'homefire.simd.wasm', 'homefire.relaxed.wasm', 'homefire.simd-threads.wasm', 'homefire.relaxed-threads.wasm'];

/** When the newest file below a path was written, ms. */
function newest(place) {
  const stat = fs.statSync(place);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...fs.readdirSync(place).map((name) => newest(path.join(place, name))));
}

export function build() {
  setUpBuild();
  const oldest = Math.min(...BUILT.map((file) => (fs.existsSync(at('dist', file)) ? fs.statSync(at('dist', file)).mtimeMs : 0)));
  if (oldest >= Math.max(...SOURCES.map((place) => newest(at(place))))) return;
  console.log('Building (the first time takes some minutes) …');
  run('cargo', ['run', '-q', '-p', 'xtask', '--', 'build']);
}

/** MiniLM as an ONNX file, beside its safetensors; gives what stands in the way. */
export function makeMiniLm(models) {
  const isThere = (file) => fs.existsSync(path.join(models, file));
  if (isThere('minilm-f32.onnx') || !isThere('minilm.safetensors')) return undefined;
  try {
    run(onnxPython(), [at('pkg-tests/bench/minilm.py'), models]);
  } catch (error) {
    return `MiniLM could not be made into an ONNX file: ${error.message}.`;
  }
}
