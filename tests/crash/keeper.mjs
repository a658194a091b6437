// The session that always has an approval pending: asked, left unanswered through a round of kills, then answered at once after
// a restart; its call has to complete; then the next one is asked.
import { Chatter } from "./chatter.mjs";
import { now, until } from "./tally.mjs";

export class Keeper extends Chatter {
  asked = null; // {id, request_id, call_id?}

  /** Asks for a call and leaves the approval unanswered. */
  async ask() {
    for (;;) {
      const message = await this.send();
      const found = await until("an approval is asked for", 15_000, 10, async () => {
        if (this.state === "unknown") await this.look();
        const p = [...this.pending.values()][0];
        return p ?? (this.state === "idle" ? "idle" : null);
      });
      if (found === "idle") continue; // the tool was not there, or the turn was interrupted
      this.asked = { id: message.id, request_id: found.request_id, asked_at: now() };
      return;
    }
  }

  /** After a restart: the very same request is still there. */
  async still_asked() {
    const s = await this.look();
    const mine = s.pending.filter((p) => p.request_id === this.asked.request_id);
    this.tally.check("the pending approval survives", mine.length === 1 && s.pending.length === 1 && mine[0].arguments?.id === this.asked.id,
      () => `${JSON.stringify(this.asked)} but pending: ${JSON.stringify(s.pending)}, state ${s.state}`);
    this.tally.check("the session waits for the approval", s.state === "awaiting_permission", () => s.state);
    return mine.length === 1;
  }

  /** Answers it now, whatever else is still starting, and expects its call to complete. */
  async answer_and_complete() {
    const { id, request_id } = this.asked;
    this.approved.add(id);
    const began = now();
    const r = await this.call("session.resolve", { request_id, decision: "allow_once" });
    this.tally.check("the pending approval can be answered", r.first === true && r.decision === "allow_once", () => JSON.stringify(r));
    this.pending.delete(request_id);
    const call = await until(`the call ${id} ends`, 20_000, 15, async () => {
      const s = await this.look();
      for (const m of s.messages) for (const c of m.tool_calls ?? []) if (c.arguments?.id === id && !["proposed", "asked", "approved", "running"].includes(c.status)) return c;
      return null;
    });
    this.tally.check("a call approved after a restart completes", call.status === "result", () => `${id}: ${JSON.stringify(call)}`);
    this.tally.time("approval answered until its call completed", now() - began);
    await until("the turn ends", 20_000, 10, async () => (await this.look()).state === "idle");
    this.asked = null;
  }

  async run() {}
}
