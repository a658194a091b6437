// A client of the control socket: one JSON object per line. Every call ends: with a result, an error, or `lost`.
import net from "node:net";

export class Lost extends Error {}

export class ApiError extends Error {
  constructor(error) {
    super(`${error.code}: ${error.message}`);
    this.code = error.code;
    this.retry_after_ms = error.retry_after_ms;
  }
}

export class Control {
  /** Resolves once connected; rejects with Lost. */
  static open(path) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(path);
      const refused = (e) => reject(new Lost(e.message));
      socket.once("error", refused);
      socket.once("connect", () => {
        socket.off("error", refused);
        resolve(new Control(socket));
      });
    });
  }

  constructor(socket) {
    this.socket = socket;
    this.waiting = new Map();
    this.last_id = 0;
    this.open = true;
    this.on_event = () => {};
    this.on_close = () => {};
    let rest = [];
    socket.on("data", (data) => {
      for (let at; (at = data.indexOf(10)) >= 0; data = data.subarray(at + 1)) {
        rest.push(data.subarray(0, at));
        const line = Buffer.concat(rest).toString();
        rest = [];
        this.#line(JSON.parse(line));
      }
      if (data.length) rest.push(data);
    });
    socket.on("error", () => {});
    socket.on("close", () => this.close());
  }

  close() {
    if (!this.open) return;
    this.open = false;
    this.socket.destroy();
    for (const { reject } of this.waiting.values()) reject(new Lost("the connection is gone"));
    this.waiting.clear();
    this.on_close();
  }

  #line(message) {
    if (message.event) return this.on_event(message.event);
    const call = this.waiting.get(message.id);
    if (!call) return;
    this.waiting.delete(message.id);
    if (message.error) call.reject(new ApiError(message.error));
    else call.resolve(message.result);
  }

  #request(body) {
    if (!this.open) return Promise.reject(new Lost("the connection is gone"));
    const id = ++this.last_id;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.write(JSON.stringify({ id, ...body }) + "\n");
    });
  }

  call(method, params = {}) {
    return this.#request({ method, params });
  }

  subscribe(topic, more = {}) {
    return this.#request({ subscribe: { topic, ...more } });
  }
}
