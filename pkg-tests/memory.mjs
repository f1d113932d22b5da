// Resident memory of a whole browser: its processes are the descendants of the one that carries a flag of ours.
import fs from 'node:fs';

/** Launches a browser and gives it with a function that tells its resident memory in MB. Linux only. */
export async function measured(launch, args = []) {
  const flag = `--homefire-measured=${process.pid}-${Date.now()}`;
  const browser = await launch([...args, flag]);
  return { browser, memory: () => resident(flag) };
}

function resident(flag) {
  const processes = new Map();
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')[1];
      const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
      const own = Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0) + Number(/RssShmem:\s+(\d+)/.exec(status)?.[1] ?? 0);
      processes.set(pid, { parent, own, root: fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(flag) });
    } catch {
      // It has ended since.
    }
  }
  const within = (pid) => {
    const found = processes.get(pid);
    return found !== undefined && (found.root || within(found.parent));
  };
  let total = 0;
  for (const [pid, { own }] of processes) if (within(pid)) total += own;
  return total / 1000;
}
