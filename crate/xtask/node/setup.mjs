// Installs what a build and the tests need and this machine lacks; says what to do where it cannot.
import fs from 'node:fs';
import crypto from 'node:crypto';
import { at } from './paths.mjs';
import { output, run } from './run.mjs';

/** The wasm target, the toolchain's components, and the npm packages. */
export function setUpBuild() {
  if (output('cargo', ['--version']) === null) throw new Error('Rust is missing: install it from https://rustup.rs and start again.');
  const targets = output('rustup', ['target', 'list', '--installed']);
  if (targets !== null) {
    if (!targets.includes('wasm32-unknown-unknown')) run('rustup', ['target', 'add', 'wasm32-unknown-unknown']);
    for (const component of ['rustfmt', 'clippy']) {
      if (output('cargo', [component === 'rustfmt' ? 'fmt' : 'clippy', '--version']) === null) run('rustup', ['component', 'add', component]);
    }
    // The builds with threads compile the standard library.
    const components = output('rustup', ['component', 'list', '--installed']) ?? '';
    if (!components.includes('rust-src')) run('rustup', ['component', 'add', 'rust-src']);
  }
  const lock = crypto.createHash('sha256').update(fs.readFileSync(at('package-lock.json'))).digest('hex');
  const stamp = at('node_modules/.homefire-lock');
  if (!fs.existsSync(stamp) || fs.readFileSync(stamp, 'utf8') !== lock) {
    run('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], { shell: process.platform === 'win32' });
    fs.writeFileSync(stamp, lock);
  }
}

const BROWSERS = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium', '/opt/google/chrome/chrome', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium', 'C:/Program Files/Google/Chrome/Application/chrome.exe',
];

/** The browser: CHROME_PATH, or one at a usual place, or null. */
export const findBrowser = () => [process.env.CHROME_PATH, ...BROWSERS].find((file) => file && fs.existsSync(file)) ?? null;

const hasVulkan = () =>
  ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'].some((dir) => fs.existsSync(dir) && fs.readdirSync(dir).length > 0);

/** A browser and, on Linux, a (software) Vulkan adapter. */
export function setUpBrowser() {
  if (process.env.CHROME_PATH && !fs.existsSync(process.env.CHROME_PATH)) {
    throw new Error(`CHROME_PATH names ${process.env.CHROME_PATH}, which is not there.`);
  }
  const missing = [];
  if (!findBrowser()) missing.push('chromium');
  if (process.platform === 'linux' && !hasVulkan()) missing.push('mesa-vulkan-drivers', 'libvulkan1');
  if (missing.length === 0) return;
  const apt = fs.existsSync('/etc/debian_version') && process.getuid?.() === 0;
  if (apt) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    run('apt-get', ['update', '-q'], { env });
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], { env });
  } else if (missing.includes('chromium')) {
    throw new Error('The tests need Chrome or Chromium: install it, or name it in CHROME_PATH.');
  } else {
    console.warn(`\n!!! No Vulkan adapter: the GPU tests will be left out. Install ${missing.join(' and ')}.\n`);
  }
}

const ONNX = 'onnx==1.23.2';

/** A Python that has the onnx package, in an environment of its own. Throws what is missing. */
export function onnxPython() {
  const python = [process.env.PYTHON, 'python3', 'python'].filter(Boolean).find((name) => output(name, ['-c', 'import venv, ensurepip']) !== null);
  if (!python) throw new Error('install Python 3 with venv and pip');
  const venv = at('target/onnx-venv');
  const inside = at(process.platform === 'win32' ? 'target/onnx-venv/Scripts/python.exe' : 'target/onnx-venv/bin/python');
  if (!fs.existsSync(inside)) run(python, ['-m', 'venv', venv]);
  if (output(inside, ['-c', `import onnx; assert onnx.__version__ == '${ONNX.split('==')[1]}'`]) === null) {
    try {
      run(inside, ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', ONNX]);
    } catch (error) {
      throw new Error(`${ONNX} cannot be installed here (${error.message})`);
    }
  }
  return inside;
}

/** The ONNX project's backend tests in target/onnx-suite, made by its Python package. */
export function setUpOnnxSuite() {
  const stamp = at('target/onnx-suite/.made-by');
  const maker = `${ONNX} ${crypto.createHash('sha256').update(fs.readFileSync(at('pkg-tests/onnx/generate.py'))).digest('hex')}`;
  if (process.env.HOMEFIRE_ONNX_SUITE || (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === maker)) return;
  try {
    run(onnxPython(), [at('pkg-tests/onnx/generate.py'), at('target/onnx-suite')]);
    fs.writeFileSync(stamp, maker);
  } catch (error) {
    console.warn(`\n!!! SKIPPED: the ONNX project's backend tests: ${error.message}, or name their folder in HOMEFIRE_ONNX_SUITE.\n`);
  }
}
