// `npm start`: installs what is missing, builds, gets the default model, serves the demo.
import { ensureModel } from './model.mjs';
import { fail, run } from './run.mjs';
import { serveDemo } from './serve.mjs';
import { setUpBuild } from './setup.mjs';

try {
  setUpBuild();
  console.log('Building (the first time takes some minutes) …');
  run('cargo', ['run', '-q', '-p', 'xtask', '--', 'build']);
  await ensureModel();
  await serveDemo();
} catch (error) {
  fail(error);
}
