// A browser for one measurement: fresh, with a profile of its own on disk, and with what /proc says of it on Linux.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { findBrowser } from '../../crate/xtask/node/setup.mjs';

const ARGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

function read(file) {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** This process and all that descend from it: their ids, and the ticks that they and their ended children took. */
function ownProcesses() {
  const children = new Map();
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = read(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number);
    if (fields.length > 14) children.set(fields[1], [...(children.get(fields[1]) ?? []), { pid: Number(pid), ticks: fields[11] + fields[12] + fields[13] + fields[14] }]);
  }
  const below = (pid) => (children.get(pid) ?? []).flatMap((child) => [child, ...below(child.pid)]);
  return below(process.pid);
}

/** Ticks of the whole machine, those in which it did something and all. */
function machine() {
  const [user, nice, system, idle, wait, irq, softirq, steal] = read('/proc/stat').split('\n')[0].trim().split(/\s+/).slice(1).map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  return { busy, all: busy + idle + wait };
}

const ownTicks = () => ownProcesses().reduce((sum, { ticks }) => sum + ticks, 0) + (process.cpuUsage().user + process.cpuUsage().system) / 1e4;

/** Opens a browser; `close` ends it and removes its profile. */
export async function open() {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'homefire-bench-'));
  const context = await chromium.launchPersistentContext(profile, { executablePath: findBrowser(), args: ARGS });
  const linux = process.platform === 'linux';
  return {
    context,
    /** The browser's name and version. */
    async version() {
      const session = await context.newCDPSession(context.pages()[0] ?? (await context.newPage()));
      return (await session.send('Browser.getVersion')).product.replace(/^Headless/, '');
    },
    /** The most memory that the page's process has had, MiB; null where nobody says. */
    peakMiB() {
      if (!linux) return null;
      const renderers = ownProcesses().filter(({ pid }) => read(`/proc/${pid}/cmdline`).includes('--type=renderer'));
      return Math.max(0, ...renderers.map(({ pid }) => Math.round(Number(/VmHWM:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024)));
    },
    /** Call what it gives at the end, for the share of the machine's time that others took meanwhile. */
    watch() {
      if (!linux) return () => null;
      const [before, own] = [machine(), ownTicks()];
      return () => {
        const after = machine();
        const others = after.busy - before.busy - (ownTicks() - own);
        return Math.max(0, others / Math.max(1, after.all - before.all));
      };
    },
    async close() {
      await context.close();
      fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
