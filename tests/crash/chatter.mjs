// One session that keeps talking: sends a message until it is acknowledged, lets its tool call run, waits for the end of the turn.
import { ApiError, Lost } from "./control.mjs";
import { now, patience, sleep } from "./tally.mjs";

const stalled_ms = 4000 * patience; // without a word of the session while it is not idle

export class Chatter {
  constructor(name, host, tally, random, approved) {
    Object.assign(this, { name, host, tally, random, approved });
    this.topic = `session:${name}`;
    this.sent = []; // {key, text, ack?: {message_id, seq}}
    this.state = "unknown";
    this.seq = 0; // of the newest event seen
    this.looking = 0; // snapshots asked for
    this.since = []; // events since then
    this.pending = new Map(); // request_id → request
    this.heard = now();
    this.told = () => {};
    this.running = false;
    host.listeners.add(this);
  }

  event(e) {
    if (e.topic !== this.topic) return;
    this.heard = now();
    this.seq = Math.max(this.seq, e.seq ?? 0);
    if (this.looking) this.since.push(e);
    this.apply(e);
    this.told();
  }

  apply(e) {
    if (e.type === "SessionStateChanged") this.state = e.new_state;
    else if (e.type === "PermissionRequired") this.pending.set(e.request_id, e);
    else if (e.type === "PermissionResolved") this.pending.delete(e.request_id);
    else if (!("session_id" in e) && (e.type === "gap" || e.type === "closed")) this.state = "unknown";
  }

  attached() {
    this.state = "unknown";
    this.seq = 0;
    this.since = [];
    this.told();
  }

  /** Waits for the next event of the session, at most so long. */
  wait(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.told = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  /** A call that is repeated until it succeeds; losing the host and being asked to come back are no failures. */
  async call(method, params) {
    for (;;) {
      const control = await this.host.online();
      try {
        return await control.call(method, { session_id: this.name, ...params });
      } catch (e) {
        if (e instanceof ApiError && !["unavailable", "overloaded", "read_only"].includes(e.code)) throw e;
        await sleep(e instanceof Lost ? 3 : Math.min(e.retry_after_ms ?? 20, 50));
      }
    }
  }

  async create() {
    try {
      await this.call("session.create", {});
    } catch (e) {
      if (e.code !== "already_exists") throw e;
    }
  }

  /** The snapshot, and then every event with a larger number that came before it did. */
  async look() {
    if (!this.looking++) this.since = [];
    const s = await this.call("session.get", {}).finally(() => --this.looking);
    this.state = s.state;
    this.seq = Math.max(this.seq, s.seq);
    this.heard = now();
    this.pending = new Map(s.pending.map((p) => [p.request_id, p]));
    for (const e of this.since) if (e.seq > s.seq) this.apply(e);
    return s;
  }

  async send() {
    const n = this.sent.length + 1;
    const id = `${this.name}-${n}`;
    const message = { key: `key-${id}`, id, text: `call count {"id":"${id}"}` };
    this.sent.push(message);
    const once = () => this.call("session.send", { content: message.text, idem_key: message.key });
    // Sometimes twice at once, as an impatient client does: both answers have to name the same message.
    const answers = await Promise.all(this.random() < 0.1 ? [once(), once()] : [once()]);
    message.ack = answers[0];
    for (const a of answers)
      this.tally.check("a key names one message", a.message_id === answers[0].message_id && a.seq === answers[0].seq,
        () => `${message.key}: ${JSON.stringify(answers)}`);
    // The answer may overtake the events: idle is only believed when it comes after the message.
    if (this.state === "idle" && this.seq <= message.ack.seq + 1) this.state = "sent";
    return message;
  }

  /** Answers what is pending. Returns the id the call was asked with. */
  async answer(request) {
    const id = request.arguments?.id;
    this.approved.add(id);
    const r = await this.call("session.resolve", { request_id: request.request_id, decision: "allow_once" });
    this.pending.delete(request.request_id);
    return r;
  }

  async turn_ends() {
    for (;;) {
      if (this.state === "unknown") await this.look();
      if (this.state === "idle" && !this.pending.size) return;
      const request = [...this.pending.values()][0];
      if (request) {
        try {
          await this.answer(request);
        } catch (e) {
          if (e.code !== "not_found") throw e;
          this.pending.delete(request.request_id);
          this.state = "unknown";
        }
        continue;
      }
      await this.wait(500);
      if (this.host.control?.open && this.state !== "unknown" && this.state !== "idle" && now() - this.heard > stalled_ms) {
        const before = this.state;
        const s = await this.look();
        this.tally.check("events tell what happens", s.state === before || before === "sent", () => `${this.name}: ${before} by its events, ${s.state} when asked`);
      }
    }
  }

  async run() {
    this.running = true;
    await this.create();
    await this.look();
    while (this.running) {
      await this.send();
      await this.turn_ends();
      if (this.random() < 0.3) await sleep(this.random() * 40);
    }
    await this.turn_ends();
  }

  stop() {
    this.running = false;
  }
}
