// What passed and what did not; times; a random source whose seed is printed.
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const now = () => performance.now();

export class Tally {
  checks = new Map(); // name → {passed, failed}
  times = new Map(); // name → [ms]
  shown = 0;

  check(name, ok, detail = "") {
    const c = this.checks.get(name) ?? { passed: 0, failed: 0 };
    this.checks.set(name, c);
    if (ok) return ++c.passed, true;
    if (++c.failed <= 5) console.error(`FAILED ${name}: ${typeof detail === "function" ? detail() : detail}`);
    return false;
  }

  time(name, ms) {
    if (!this.times.has(name)) this.times.set(name, []);
    this.times.get(name).push(ms);
  }

  figures(name) {
    const list = [...(this.times.get(name) ?? [])].sort((a, b) => a - b);
    if (!list.length) return null;
    const at = (q) => Math.round(list[Math.min(list.length - 1, Math.floor(q * list.length))]);
    return { n: list.length, p50: at(0.5), p95: at(0.95), max: at(1) };
  }

  print() {
    for (const name of this.times.keys()) {
      const f = this.figures(name);
      console.log(`  ${name}: p50 ${f.p50} ms, p95 ${f.p95} ms, max ${f.max} ms (${f.n})`);
    }
    for (const [name, c] of this.checks) if (c.failed) console.log(`  FAILED ${name}: ${c.failed} of ${c.passed + c.failed}`);
    const all = [...this.checks.values()];
    return { passed: all.filter((c) => !c.failed).length, failed: all.filter((c) => c.failed).length, single: all.reduce((n, c) => n + c.passed + c.failed, 0) };
  }
}

/** mulberry32: small, good enough to choose moments, the same everywhere. */
export function random_from(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Builds with sanitizers are slower: multiplies deadlines. Set by ctest (HOLDFAST_PATIENCE). */
export const patience = Number(process.env.HOLDFAST_PATIENCE ?? 1);

export async function until(what, deadline_ms, every_ms, probe) {
  const end = now() + deadline_ms * patience;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (now() >= end) throw new Error(`not within ${deadline_ms} ms: ${what}`);
    await sleep(every_ms);
  }
}
