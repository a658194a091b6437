// kill -9 of the host (and of its guardian, and of its MCP server) at random moments, while sessions talk and call tools.
//   node crash.mjs BUILD_DIR [--kills 20] [--sessions 20] [--seed N] [--keep]
import fs from "node:fs";
import { parseArgs } from "node:util";
import { Chatter } from "./chatter.mjs";
import { Host } from "./host.mjs";
import { Keeper } from "./keeper.mjs";
import { alive, kill9 } from "./processes.mjs";
import { Tally, now, patience, random_from, sleep, until } from "./tally.mjs";
import { check_counter, check_ledger, check_messages, whole_history, whole_journal } from "./verify.mjs";

const serving_median_ms = 1000 * patience, serving_most_ms = 3000 * patience; // the goal on an idle machine is 1 s; shared ones are noisy
const orphan_ms = 1000 * patience;
const after_guardian_ms = 15_000 * patience; // the host's own time for an orderly stop
const round_kills = 4;            // kills through which one approval stays pending

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { kills: { type: "string", default: "20" }, sessions: { type: "string", default: "20" }, seed: { type: "string" }, keep: { type: "boolean", default: false } },
});
if (positionals.length !== 1) {
  console.error("usage: node crash.mjs BUILD_DIR [--kills N] [--sessions N] [--seed N] [--keep]");
  process.exit(2);
}
const kills = Number(values.kills), seed = Number(values.seed ?? (Date.now() & 0xffffffff) >>> 0);
const random = random_from(seed);
const tally = new Tally();
const approved = new Set();
const host = new Host(fs.realpathSync(positionals[0]));
const chatters = Array.from({ length: Number(values.sessions) }, (_, i) => new Chatter(`s${i}`, host, tally, random_from(seed + i + 1), approved));
const keeper = new Keeper("pending", host, tally, random_from(seed + 1000), approved);
const everyone = [...chatters, keeper];
const counts = { host: 0, guardian: 0, server: 0 };
console.log(`seed ${seed}: ${kills} kills, ${chatters.length} sessions; files in ${host.dir}`);

/** From nothing to a host that answers: connection, host.info, and the snapshots of two sessions. */
async function serving(began, before, label) {
  const control = await host.connect(30_000, before);
  tally.time(`${label}: host.info answered`, now() - began);
  for (const c of [keeper, chatters[Math.floor(random() * chatters.length)]]) {
    const s = await until("a session is back", 30_000, 4, async () => {
      try {
        return await control.call("session.get", { session_id: c.name });
      } catch (e) {
        if (e.code === "unavailable" || e.code === "overloaded") return null;
        throw e;
      }
    });
    const last = c.sent.filter((m) => m.ack).at(-1);
    if (last) tally.check("the newest acknowledged message is there at once", s.messages.some((m) => m.id === last.ack.message_id), () => `${c.name}: ${JSON.stringify(last)}`);
  }
  tally.time(`${label}: serving again`, now() - began);
  return control;
}

async function gone(label, processes, within_ms, began) {
  while (processes.some(alive) && now() - began < within_ms) await sleep(5);
  const left = processes.filter(alive);
  tally.check(label, !left.length, () => left.map((p) => `${p.pid} ${p.name}`).join(", "));
  if (!left.length) tally.time(label, now() - began);
}

async function tools_there(began) {
  await until("the demo server's tools", 30_000, 10, async () => {
    const control = await host.online();
    const list = await control.call("tool.list", {}).catch(() => null);
    return list?.tools.some((t) => t.server === "demo" && t.name === "count");
  });
  if (began) tally.time("the server's tools are back", now() - began);
}

async function kill_host() {
  await sleep(20 + random() * 580);
  const target = host.host_process();
  if (!target) throw new Error("there is no host to kill; see " + host.log);
  const below = host.family().filter((p) => p.pid !== host.guardian.pid);
  const began = now();
  kill9(target.pid);
  ++counts.host;
  host.detach();
  const orphans = gone("no orphan after the host's death", below, orphan_ms, began);
  const control = await serving(began, target.pid, "host killed");
  await host.attach(control);
  await orphans;
  return began;
}

async function kill_guardian() {
  await sleep(20 + random() * 300);
  const all = host.family();
  const began = now();
  kill9(host.guardian.pid);
  ++counts.guardian;
  host.detach();
  await host.guardian_ended;
  await gone("the host ends with its guardian", all, after_guardian_ms, began);
  const again = now();
  host.start();
  await host.attach(await serving(again, 0, "started anew after the guardian's death"));
  await keeper.still_asked();
}

async function kill_server() {
  await sleep(random() * 200);
  const control = await host.online();
  const row = await control.call("server.get", { name: "demo" });
  if (!row.pid || !kill9(row.pid)) return;
  ++counts.server;
  const began = now();
  await until("the server is healthy again", 20_000, 10, async () => {
    const r = await control.call("server.get", { name: "demo" });
    return r.status === "healthy" && r.pid !== row.pid;
  });
  tally.time("server killed: healthy again", now() - began);
}

/** One kill, and what has to hold right after it. */
async function one_kill(n) {
  const began = await kill_host();
  const there = await keeper.still_asked();
  if (there && n % round_kills === round_kills - 1) {
    await keeper.answer_and_complete();
    await tools_there();
    await keeper.ask();
  } else if (n % 5 === 4) {
    await tools_there(began);
    for (let i = 0; i < 2; ++i) await kill_server();
  }
  if (n % 20 === 19) console.log(`  ${n + 1} kills; ${chatters.reduce((k, c) => k + c.sent.filter((m) => m.ack).length, 0)} messages acknowledged`);
}

async function settle() {
  for (const c of chatters) c.stop();
  await Promise.race([Promise.all(talks), sleep(60_000 * patience).then(() => { throw new Error("the sessions do not come to rest: " + chatters.filter((c) => c.state !== "idle").map((c) => `${c.name} ${c.state}`).join(", ")); })]);
  await keeper.answer_and_complete();
}

async function verify() {
  const control = await host.online();
  const ids = new Map(), sum = { intents: 0, results: 0, errors: 0, unknown: 0, interrupted: 0, messages: 0 };
  for (const c of everyone) {
    const history = await whole_history(control, c.name), journal = await whole_journal(control, c.name);
    check_messages(tally, c, history);
    const f = check_ledger(tally, c, history, journal);
    for (const [id, of] of f.ids) ids.set(id, of);
    for (const k of ["intents", "results", "errors", "unknown", "interrupted"]) sum[k] += f[k];
    sum.messages += c.sent.filter((m) => m.ack).length;
  }
  sum.lines = check_counter(tally, host.count_file, ids, approved);
  const tree = await control.call("host.health");
  tally.check("no session is quarantined", tree.sessions.quarantined === 0, () => JSON.stringify(tree.sessions));
  return sum;
}

let talks = [], sum = null;
const began = now();
try {
  host.start();
  await host.attach(await host.connect(30_000));
  await tools_there();
  await Promise.all(everyone.map((c) => c.create()));
  await keeper.ask();
  talks = chatters.map((c) => c.run());
  for (const t of talks) t.catch((e) => tally.check("a session can always go on", false, e.stack));
  const middle = Math.floor(kills / 2);
  for (let n = 0; n < kills; ++n) {
    await one_kill(n);
    if (n === middle) await kill_guardian();
  }
  await settle();
  sum = await verify();
} catch (e) {
  tally.check("the run ends", false, e.stack);
}
const { how, left } = await host.end();
tally.check("the host stops in an orderly way", how?.code === 0 && !left.length, () => `${JSON.stringify(how)}, left: ${left.map((p) => p.name)}`);

const serving_again = tally.figures("host killed: serving again");
if (kills > 0) {
  tally.check(`serving again: median at most ${serving_median_ms} ms`, serving_again?.p50 <= serving_median_ms, JSON.stringify(serving_again));
  tally.check(`serving again: at most ${serving_most_ms} ms`, serving_again?.max <= serving_most_ms, JSON.stringify(serving_again));
}
const { passed, failed, single } = tally.print();
const what = sum ? `; ${sum.messages} messages acknowledged, ${sum.intents} calls intended, ${sum.lines} counted, ${sum.results} results, ${sum.unknown} outcome_unknown, ${sum.errors} errors, ${sum.interrupted} answers interrupted` : "";
console.log(`killed ${counts.host} hosts, ${counts.guardian} guardian, ${counts.server} servers in ${Math.round((now() - began) / 1000)} s${what}`);
console.log(`serving again p50 ${serving_again?.p50} ms, max ${serving_again?.max} ms; ${single} single checks; seed ${seed}`);
console.log(`${passed} passed, ${failed} failed`);
if (failed || values.keep) console.log(`files kept in ${host.dir}`);
else host.forget_files();
process.exit(failed ? 1 : 0);
