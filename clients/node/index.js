// The client: requests, streams, and what people do most. See index.d.ts for the types.
//
// A router or an actor that dies is back within a second. Requests that may be repeated are repeated, streams go
// on where they were, and only what is left uncertain becomes an error.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError, Link, LostError } from "./link.js";
import { ProtocolError } from "./msgpack.js";
import { newId } from "./wire.js";

export { ConnectError, ProtocolError };

const CONNECTION = "/run/actord/connection.json";
const RETRY = 50; // milliseconds
const PATIENCE = 10000; // milliseconds for a router to come back, and for a stream that leads nowhere
const LATE = 1000; // milliseconds after its deadline until an answer is given up
const CREDIT = 1 << 20;
const PIECE = 65536; // bytes of input in one request
const PARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/; // W3C Trace Context

export class RequestError extends Error {
  constructor(fields) {
    super(String(fields.msg ?? "no text"));
    this.code = String(fields.code ?? "internal");
    this.outcome = String(fields.outcome ?? "unknown");
    this.retryable = Boolean(fields.retryable);
    this.actor = String(fields.actor ?? "");
    this.details = fields.details ?? {};
    this.final = Boolean(fields.final);
  }
}

export class Client {
  static async connect(path = process.env.ACTORD_CONNECTION ?? CONNECTION) {
    const client = new Client(path);
    await client.#open();
    return client;
  }

  #link = null;
  #renewing = null;
  #closed = false;

  constructor(path) {
    this.path = path;
    this.reconnections = -1;
    const parent = process.env.TRACEPARENT;
    this.trace = PARENT.test(parent) ? parent : randomBytes(16).toString("hex");
  }

  get welcome() {
    return this.#link?.welcome ?? {};
  }

  close() {
    this.#closed = true;
    this.#link?.close();
  }

  async request(op, body, { to, limit = 30000, repeatable = false, once = false, buffers = [], signal } = {}) {
    const until = Date.now() + limit;
    for (;;) {
      try {
        return await this.#ask(op, body, to, until, buffers, signal);
      } catch (error) {
        if (once || !(error instanceof RequestError) || !error.retryable || signal?.aborted) throw error;
        const safe = error.outcome === "not_started" || (repeatable && error.outcome !== "done");
        if (!safe || Date.now() + RETRY > until) throw error;
      }
      await sleep(RETRY);
    }
  }

  async *stream(op, body, { to, credit = CREDIT, resume } = {}) {
    const progress = { since: Date.now() };
    for (;;) {
      try {
        yield* this.#streamed(op, body, to, credit, progress);
        return;
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        const over = error.final && error.code !== "overloaded";
        if (over || !error.retryable || Date.now() - progress.since > PATIENCE) throw error;
      }
      await sleep(RETRY);
      body = resume ? resume() : body;
    }
  }

  // One attempt

  async #ask(op, body, to, until, buffers, signal) {
    const link = await this.#current();
    const id = newId();
    const inbox = link.inbox(id);
    const left = Math.max(1, until - Date.now());
    const timer = setTimeout(() => inbox.put("late"), left + LATE);
    const abort = () => inbox.put("aborted");
    signal?.addEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      await link.send({ t: "REQ", id, to, m: op, dl: left, tr: this.trace }, body, buffers);
      const answer = await inbox.get();
      if (answer === "late") {
        throw new RequestError({ code: "deadline_exceeded", msg: `${op}: no answer from ${to}`, outcome: "unknown" });
      }
      if (answer === "aborted") {
        link.cancel(id);
        signal.throwIfAborted();
      }
      return result(answer);
    } catch (error) {
      throw lost(op, error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      link.forget(id);
    }
  }

  async *#streamed(op, body, to, credit, progress) {
    const link = await this.#current();
    const id = newId();
    const inbox = link.inbox(id);
    let open = true;
    let used = 0;
    try {
      await link.send({ t: "REQ", id, to, m: op, cr: credit, tr: this.trace }, body);
      for (let number = 1; ; number++) {
        const message = await inbox.get();
        if ((message?.header.nr ?? number) !== number) {
          const msg = `${op}: an answer was lost on the way`;
          throw new RequestError({ code: "unavailable", msg, outcome: "unknown", retryable: true });
        }
        if (message === null || !["PART", "EVT"].includes(message.header.t)) {
          open = false;
          yield { body: result(message), buffers: [], seq: 0, final: true };
          return;
        }
        progress.since = Date.now();
        const { header, buffers } = message;
        yield { body: message.body(), buffers, seq: header.sq ?? 0, final: false };
        used += header.t === "EVT" ? 1 : buffers.reduce((sum, one) => sum + one.length, 0);
        if (used * 2 >= credit) {
          await link.send({ t: "CREDIT", re: id, cr: used });
          used = 0;
        }
      }
    } catch (error) {
      open &&= !(error instanceof LostError);
      throw lost(op, error);
    } finally {
      link.forget(id);
      if (open) link.cancel(id);
    }
  }

  /** The connection, renewed if it broke; by one, however many want it. */
  async #current() {
    if (this.#link && !this.#link.isOver) return this.#link;
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renew() {
    this.#link?.close();
    for (const until = Date.now() + PATIENCE; ; await sleep(RETRY)) {
      if (this.#closed) throw new ConnectError("this client has been closed");
      try {
        return await this.#open();
      } catch (error) {
        if (Date.now() > until) throw error;
      }
    }
  }

  async #open() {
    this.#link = await Link.open(this.path);
    this.reconnections += 1;
    return this.#link;
  }

  // What people do most

  async pull(reference, { namespace = "default", progress } = {}) {
    const wish = { namespace, reference };
    const { actor } = await this.request("images.pull", wish, { to: "supervisor", repeatable: true });
    for await (const part of this.stream("transfers.attach", {}, { to: actor })) {
      if (part.final) return part.body;
      progress?.(part.body);
    }
  }

  async create(image, args, { namespace = "default", name = "", ...options } = {}) {
    const body = { namespace, image, name, options: { ...options, args } };
    const { id, actor } = await this.request("containers.create", body, { to: "metadata" });
    return new Container(this, id, actor);
  }

  async *events({ after = 0, follow = true, ...which } = {}) {
    const body = () => ({ ...which, after, follow });
    for await (const part of this.stream("events.subscribe", body(), { to: "events", credit: 256, resume: body })) {
      if (part.final) return;
      after = part.seq;
      yield part;
    }
  }
}

export class Container {
  constructor(client, id, actor) {
    Object.assign(this, { client, id, actor });
  }

  #ask(op, body, how) {
    return this.client.request(op, body, { to: this.actor, repeatable: true, ...how });
  }

  async start() {
    await this.#ask("tasks.start", { run: 1 });
  }

  async write(chunks, { exec_id = "" } = {}) {
    const writer = randomBytes(8).toString("hex");
    let offset = 0;
    for await (const chunk of typeof chunks === "string" || chunks instanceof Uint8Array ? [chunks] : chunks) {
      const bytes = Buffer.from(chunk);
      for (let at = 0; at < bytes.length; at += PIECE) {
        const piece = bytes.subarray(at, at + PIECE);
        await this.#ask("tasks.input", { writer, offset, exec_id }, { buffers: [piece], limit: 3600000 });
        offset += piece.length;
      }
    }
    await this.#ask("tasks.close_io", { exec_id }, { limit: 3600000 });
  }

  async *output({ exec_id = "", follow = true } = {}) {
    const have = { 1: 0, 2: 0 };
    const body = () => ({ stdout: have[1], stderr: have[2], follow, exec_id });
    for await (const part of this.client.stream("tasks.output", body(), { to: this.actor, resume: body })) {
      if (part.final) {
        yield { stream: 0, bytes: Buffer.alloc(0), exitCode: part.body.exit_code ?? null, end: true };
        return;
      }
      const bytes = Buffer.concat(part.buffers);
      have[part.body.stream] = part.body.offset + bytes.length;
      yield { stream: part.body.stream, bytes, exitCode: null, end: false };
    }
  }

  async exec(args, options = {}) {
    const exec_id = randomBytes(8).toString("hex");
    await this.#ask("tasks.exec", { exec_id, args, ...options });
    return exec_id;
  }

  async wait() {
    return (await this.#ask("tasks.wait", {}, { limit: 7 * 86400000 })).exit_code;
  }

  async stop(grace = null) {
    await this.#ask("tasks.stop", { grace }, { limit: 60000 + 1000 * (grace ?? 0) });
  }

  /** Its actor goes with it, at times before its answer. */
  async remove({ force = false } = {}) {
    try {
      await this.#ask("containers.remove", { force });
    } catch (error) {
      if (error.code !== "not_found") throw error;
    }
  }
}

function result(message) {
  if (message === null) throw new LostError(true);
  const body = message.body();
  if (message.header.t === "ERR") throw new RequestError({ ...body, final: Boolean(message.header.fr) });
  return body ?? {};
}

function lost(op, error) {
  if (!(error instanceof LostError)) return error;
  const outcome = error.sent ? "unknown" : "not_started";
  const msg = `${op}: the connection broke before the answer${error.sent ? "; it may have been done" : ""}`;
  return new RequestError({ code: "unavailable", msg, outcome, retryable: true });
}
