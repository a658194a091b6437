// What has to be true when everything is over.
import fs from "node:fs";

export async function whole_history(control, session) {
  const all = [];
  for (let before = 0; ; ) {
    const page = await control.call("session.history", { session_id: session, limit: 500, ...(before ? { before } : {}) });
    all.unshift(...page.messages);
    if (!page.has_more || !page.messages.length) return all;
    before = page.messages[0].seq;
  }
}

export async function whole_journal(control, session) {
  const all = [];
  for (let from = 1; ; ) {
    const page = await control.call("events.read", { topic: `session:${session}`, from, limit: 500 });
    all.push(...page.events);
    if (page.events.length < 500) return all;
    from = page.events.at(-1).seq + 1;
  }
}

const rising = (list) => list.every((x, i) => i === 0 || x.seq > list[i - 1].seq);

/** Every acknowledged message once, none twice, numbers rising. */
export function check_messages(tally, chatter, history) {
  const users = history.filter((m) => m.role === "user");
  const by_text = new Map();
  for (const m of users) by_text.set(m.text, [...(by_text.get(m.text) ?? []), m]);
  for (const s of chatter.sent) {
    const found = by_text.get(s.text) ?? [];
    if (s.ack) {
      tally.check("every acknowledged message is there", found.length >= 1, () => `${s.id} is missing`);
      if (found.length)
        tally.check("a message is what was acknowledged", found[0].id === s.ack.message_id && found[0].seq === s.ack.seq,
          () => `${s.id}: ${JSON.stringify(s.ack)} but ${JSON.stringify(found[0])}`);
    }
    tally.check("no message is there twice", found.length <= 1, () => `${s.id}: ${found.length} times`);
  }
  const known = new Set(chatter.sent.map((s) => s.text));
  tally.check("nothing is there that was not sent", users.every((m) => known.has(m.text)), () => JSON.stringify(users.find((m) => !known.has(m.text))));
  tally.check("messages are in rising order", rising(history), () => chatter.name);
  tally.check("message ids are unique", new Set(history.map((m) => m.id)).size === history.length, () => chatter.name);
}

/** The ledger: every intent has one outcome, in the journal and in the message. Returns what is known of each id. */
export function check_ledger(tally, chatter, history, journal) {
  const figures = { intents: 0, results: 0, errors: 0, unknown: 0, interrupted: 0, ids: new Map() };
  tally.check("journal numbers rise", rising(journal), () => chatter.name);
  const intents = new Map(), ends = new Map(), keyed = new Map();
  for (const e of journal) {
    const of = (map) => map.set(e.call_id, [...(map.get(e.call_id) ?? []), e]);
    if (e.type === "ToolCallIntent") of(intents);
    else if (e.type === "MCPToolExecuted") of(ends);
    if (e.type === "ErrorOccurred" && e.error_type === "outcome_unknown") keyed.set(e.context.call_id, e);
  }
  const calls = new Map();
  for (const m of history) {
    for (const c of m.tool_calls ?? []) calls.set(c.id, [...(calls.get(c.id) ?? []), c]);
    if (m.status === "interrupted" || m.status === "failed") ++figures.interrupted;
    tally.check("no message is left streaming", m.status !== "streaming", () => `${chatter.name}: ${m.id}`);
  }
  for (const [id, list] of calls) {
    tally.check("a call id is used once", list.length === 1, () => `${chatter.name}: ${id} ${list.length} times`);
    tally.check("no call is left open", !["proposed", "asked", "approved", "running"].includes(list.at(-1).status), () => `${chatter.name}: ${JSON.stringify(list.at(-1))}`);
  }
  for (const [call_id, list] of intents) {
    const end = ends.get(call_id) ?? [];
    figures.intents += list.length;
    tally.check("a call is intended once", list.length === 1, () => `${chatter.name}: ${call_id} ${list.length} times`);
    tally.check("every intent has one outcome", end.length === list.length, () => `${chatter.name}: ${call_id} has ${end.length} for ${list.length}`);
    if (!end.length) continue;
    tally.check("the outcome follows the intent", end[0].seq > list[0].seq, () => `${chatter.name}: ${call_id}`);
    const shown = (calls.get(call_id) ?? []).at(-1);
    tally.check("message and journal agree", shown?.status === end.at(-1).status, () => `${chatter.name}: ${call_id} is ${shown?.status} in the message, ${end.at(-1).status} in the journal`);
    for (const [i, e] of end.entries()) {
      const id = list[i]?.arguments?.id;
      const of = figures.ids.get(id) ?? { intents: 0, results: 0, unknown: 0 };
      figures.ids.set(id, of);
      ++of.intents;
      if (e.status === "result") ++of.results, ++figures.results;
      else if (e.status === "outcome_unknown") ++of.unknown, ++figures.unknown;
      else ++figures.errors;
    }
  }
  for (const [call_id, list] of ends) {
    const without = !intents.has(call_id);
    tally.check("nothing ran without an intent", !without || list.every((e) => e.status === "error" || e.status === "denied"), () => `${chatter.name}: ${JSON.stringify(list)}`);
  }
  return figures;
}

/** The lines of the count file against what was approved, intended and answered. */
export function check_counter(tally, file, ids, approved) {
  const lines = fs.readFileSync(file, "utf8").split("\n").filter(Boolean);
  const counted = new Map();
  for (const l of lines) counted.set(l, (counted.get(l) ?? 0) + 1);
  for (const [id, n] of counted) {
    const of = ids.get(id);
    tally.check("no call ran more often than intended", n <= (of?.intents ?? 0), () => `${id}: ${n} lines, ${of?.intents ?? 0} intents`);
    tally.check("no call ran that nobody approved", approved.has(id), () => id);
    tally.check("no call ran twice", n === 1, () => `${id}: ${n}`);
  }
  for (const [id, of] of ids)
    tally.check("every result stands for a line", (counted.get(id) ?? 0) >= of.results, () => `${id}: ${of.results} results, ${counted.get(id) ?? 0} lines`);
  const intents = [...ids.values()].reduce((n, x) => n + x.intents, 0);
  tally.check("the counter never exceeds the calls made", lines.length <= intents, () => `${lines.length} lines, ${intents} intents`);
  return lines.length;
}
