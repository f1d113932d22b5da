// The measured cases as a table: each kernel's rate, and its share of the least time that the measured peaks allow.

/** What limits a case, by the peak in whose unit it counts: its name, its unit, and where its number lies in the work. */
const LIMITS = [
  { limit: 'multiply-add', unit: 'GFLOP/s', work: 'floats' },
  { limit: 'dot product', unit: 'GOP/s', work: 'integers' },
  { limit: 'memory', unit: 'GB/s', work: 'memory' },
  { limit: 'cache', unit: 'GB/s', work: 'cache' },
];

/** Shares that are wanted, by kind and threads. */
const WANTED = {
  'f32 GEMM': { 1: 0.7, 2: 0.7 },
  'mat-mat': { 1: 0.6, 2: 0.6 },
  'mat-vec': { 2: 0.7 },
};

function quantile(times, q) {
  const sorted = [...times].sort((a, b) => a - b);
  const place = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}

/**
 * Of each case and number of threads: `ms` a call (median), `spread` (between the quartiles, of the median), `rate` in
 * `unit`; of kernels also the `share` of what `limit` allows (the median of the rounds), and whether that is `below` what is wanted.
 */
export function rowsOf(cases, threads) {
  return cases.map(({ kind, name, work, rounds }) => {
    const shown = work.memory > 0 ? LIMITS[2] : LIMITS.find((one) => work[one.work] > 0);
    const on = {};
    for (const n of threads) {
      const all = rounds[n].flatMap(({ times }) => times);
      // Peaks are the fastest tenth.
      const ms = quantile(all, kind === 'peak' ? 0.1 : 0.5);
      on[n] = { ms, spread: (quantile(all, 0.75) - quantile(all, 0.25)) / ms, rate: work[shown.work] / ms / 1e6 };
      if (kind !== 'peak') Object.assign(on[n], shareOf(work, rounds[n]));
      on[n].below = on[n].share < (WANTED[kind]?.[n] ?? 0);
    }
    return { kind, name, unit: shown.unit, on };
  });
}

/** The least time that the peaks of a round allow, by the time that the kernel took in it. */
function shareOf(work, rounds) {
  const shares = rounds.map(({ times, peaks }) => {
    const least = LIMITS.map((one) => (work[one.work] > 0 ? work[one.work] / peaks[one.work] : 0));
    const most = Math.max(...least);
    return { share: most / quantile(times, 0.5), limit: LIMITS[least.indexOf(most)].limit };
  });
  shares.sort((a, b) => a.share - b.share);
  return { share: quantile(shares.map(({ share }) => share), 0.5), limit: shares[shares.length >> 1].limit };
}

const time = (ms) => (ms < 1 ? `${(ms * 1000).toFixed(1)} µs` : `${ms.toFixed(2)} ms`);
const percent = (share) => `${Math.round(share * 100)} %`;

/** One line for a terminal. */
export function row({ kind, name, unit, on }, threads) {
  const parts = threads.map((n) => {
    const { ms, rate, share, limit, below, spread } = on[n];
    const of = kind === 'peak' ? '' : `${percent(share)} of ${limit}${below ? ' (below)' : ''}`;
    return `${n}t ${time(ms).padStart(9)} ±${percent(spread / 2)} ${`${rate.toFixed(1)} ${unit}`.padStart(14)}  ${of.padEnd(27)}`;
  });
  return `${kind} ${name}`.padEnd(58) + parts.join('');
}

/** The page of the documentation. */
export function markdown(rows, threads, { date, machine, rounds }) {
  const count = (n) => `${n} thread${n === 1 ? '' : 's'}`;
  const table = (head, lines) => [`| ${head.join(' | ')} |`, `|${head.map((_, i) => (i === 0 ? '---|' : '---:|')).join('')}`, ...lines.map((cells) => `| ${cells.join(' | ')} |`)].join('\n');
  const ofPeak = ({ name, unit, on }) => [name, ...threads.map((n) => `${on[n].rate.toFixed(1)} ${unit}`)];
  const ofKernel = ({ kind, name, unit, on }) => [
    `${kind} ${name}`,
    ...threads.flatMap((n) => [time(on[n].ms), `${on[n].rate.toFixed(1)} ${unit}`, `${percent(on[n].share)}${on[n].below ? ' ↓' : ''} ${on[n].limit}`]),
  ];
  const wanted = Object.entries(WANTED).map(([kind, of]) => `${kind} ${percent(Object.values(of)[0])}${of[1] ? '' : ' on two threads'}`).join(', ');
  return `# How near the CPU kernels come to the machine

Made by \`npm run bench:kernels\` on ${date}, on a ${machine}.
Medians of ${rounds} round${Number(rounds) === 1 ? '' : 's'} of seven samples, with relaxed SIMD.

## What the machine does at most, in the same run

${table(['', ...threads.map(count)], rows.filter(({ kind }) => kind === 'peak').map(ofPeak))}

Peaks are the fastest tenth. Multiply-adds and dot products work on registers alone. A set of 96 MB is read as memory.

## Kernels

A share is the least time that the peaks allow by the time taken, where both were measured within the same second, for others have a part
of the machine too; it is the median of the rounds. The least time is that of what limits the kernel most: its
multiplications and additions, the bytes that come from memory, or those that are read and written in a cache. Operations
are those of the textbook: convolutions of 3 × 3 without stride need fewer multiplications than that, exact products of
integers and levels of more than four bits take more instructions. Wanted: ${wanted}; ↓ is below.

${table(['', ...threads.flatMap((n) => [count(n), '', 'share of'])], rows.filter(({ kind }) => kind !== 'peak').map(ofKernel))}
`;
}
