// Which processes there are, from /proc. A process is its pid and the time it started, so that a pid used again is another one.
import fs from "node:fs";

function row(pid) {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const rest = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { pid, state: rest[0], parent: Number(rest[1]), started: rest[19], name: text.slice(text.indexOf("(") + 1, text.lastIndexOf(")")) };
  } catch {
    return null;
  }
}

/** The process itself and everything below it. */
export function family(pid) {
  const all = fs.readdirSync("/proc").filter((n) => /^\d+$/.test(n)).map((n) => row(Number(n))).filter(Boolean);
  const found = all.filter((p) => p.pid === pid);
  for (let i = 0; i < found.length; ++i) found.push(...all.filter((p) => p.parent === found[i].pid));
  return found;
}

export function children(pid) {
  return family(pid).filter((p) => p.parent === pid);
}

/** A zombie does nothing any more; whoever has to reap it is not in question here. */
export function alive(process) {
  const now = row(process.pid);
  return now !== null && now.started === process.started && now.state !== "Z";
}

export function kill9(pid) {
  try {
    globalThis.process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}
