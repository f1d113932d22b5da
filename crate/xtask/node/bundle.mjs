// Bundles the TypeScript face into dist/: index.js for the page, ort.js and tasks.js on top of it, worker.js with the glue
// of every wasm variant, the microphone's worklet, and the types. Arguments: the glue folders, in the order of `names`.
import fs from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { at } from './paths.mjs';
import { run } from './run.mjs';

const names = ['simd', 'relaxed', 'simd-threads', 'relaxed-threads'];
const folders = process.argv.slice(2).map((folder) => path.resolve(folder));
/** The glue without its comments, which number the functions of its wasm. */
const texts = folders.map((folder) => fs.readFileSync(path.join(folder, 'homefire.js'), 'utf8').replace(/^\s*\/\/.*$/gm, ''));

const glue = {
  name: 'glue',
  setup(builder) {
    builder.onResolve({ filter: /^homefire-glue\// }, ({ path: name }) => {
      // Variants mostly have the same glue, which then is bundled once.
      const index = texts.indexOf(texts[names.indexOf(name.split('/')[1])]);
      return { path: path.join(folders[index], 'homefire.js') };
    });
  },
};

/** What builds on index.js imports it, and does not hold a copy. */
const onIndex = {
  name: 'on-index',
  setup(builder) {
    builder.onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: './index.js', external: true }));
  },
};

await build({
  entryPoints: {
    index: at('crate/js/index.ts'),
    worker: at('crate/js/worker.ts'),
    tasks: at('crate/js/tasks/index.ts'),
    'microphone-worklet': at('crate/js/tasks/microphone-worklet.ts'),
    ort: at('crate/js/ort/index.ts'),
  },
  outdir: at('dist'),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'none',
  // Of the glue: it warns of ways to start it that are not used here.
  pure: ['console.warn'],
  logLevel: 'warning',
  plugins: [glue, onIndex],
});
run(process.execPath, [at('node_modules/typescript/bin/tsc'), '-p', at('tsconfig.json')]);
