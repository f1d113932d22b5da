// Serves the demo on the loopback address: / is www/, with dist/ and models/ beside it. Every answer
// carries the headers that isolate the page (threads need them) and supports byte ranges.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { at } from './paths.mjs';
import { fail } from './run.mjs';

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8', '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml',
  '.png': 'image/png', '.ico': 'image/x-icon', '.webmanifest': 'application/manifest+json', '.map': 'application/json',
  '.gguf': 'application/octet-stream', '.txt': 'text/plain; charset=utf-8', '.md': 'text/plain; charset=utf-8',
};

/** Serves `roots` (URL prefix → folder, longest first); `isolate` adds the COOP and COEP headers, `onFile` hears of each file. */
export async function serve({ roots, port = 0, isolate = true, headers = {}, onFile }) {
  const prefixes = Object.keys(roots).sort((a, b) => b.length - a.length);
  const server = http.createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (isolate) {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    }
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    response.setHeader('Cache-Control', 'no-cache');
    const refuse = (status) => response.writeHead(status, { 'Content-Type': 'text/plain' }).end(`${status}\n`);
    if (!['GET', 'HEAD'].includes(request.method)) return refuse(405);
    let url;
    try {
      url = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    } catch {
      return refuse(400);
    }
    const prefix = prefixes.find((p) => url.startsWith(p));
    if (!prefix) return refuse(404);
    const base = path.resolve(roots[prefix]);
    let file = path.join(base, url.slice(prefix.length));
    if (file !== base && !file.startsWith(base + path.sep)) return refuse(404);
    if (url.endsWith('/')) file = path.join(file, 'index.html');
    let stat;
    try {
      stat = fs.statSync(file);
    } catch {
      return refuse(404);
    }
    if (!stat.isFile()) return refuse(404);
    onFile?.({ url, file });
    send(request, response, file, stat);
  });
  await new Promise((resolve, reject) => {
    let next = port;
    server.on('error', (error) => {
      if (error.code !== 'EADDRINUSE' || next === 0 || next > port + 50) return reject(error);
      server.listen(++next, '127.0.0.1');
    });
    server.on('listening', resolve);
    server.listen(next, '127.0.0.1');
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { origin, close: () => (server.closeAllConnections(), server.close()) };
}

function send(request, response, file, { size, mtimeMs }) {
  const tag = `"${size.toString(16)}-${Math.round(mtimeMs).toString(16)}"`;
  response.setHeader('ETag', tag);
  response.setHeader('Accept-Ranges', 'bytes');
  response.setHeader('Content-Type', TYPES[path.extname(file).toLowerCase()] ?? 'application/octet-stream');
  if (request.headers['if-none-match'] === tag) return response.writeHead(304).end();
  const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? '');
  let [start, end, status] = [0, size - 1, 200];
  if (range && (range[1] || range[2])) {
    start = range[1] ? Number(range[1]) : Math.max(0, size - Number(range[2]));
    end = range[1] && range[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
    if (start > end) return response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
    response.setHeader('Content-Range', `bytes ${start}-${end}/${size}`);
    status = 206;
  }
  response.writeHead(status, { 'Content-Length': end - start + 1 });
  if (request.method === 'HEAD' || size === 0) return response.end();
  const stream = fs.createReadStream(file, { start, end });
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

/** The demo, at port 8080 or the next free one. */
export async function serveDemo() {
  const roots = { '/': at('www'), '/dist/': at('dist'), '/models/': at('models') };
  // The page says the same of itself; a worker has only what its own answer says.
  const headers = { 'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'" };
  const { origin } = await serve({ roots, headers, port: Number(process.env.PORT) || 8080 });
  console.log(`\nHomefire is at ${origin}/   (Ctrl+C ends it)`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await serveDemo().catch(fail);
