// One connection, watched, so that its end is known at once. ZeroMQ would connect again by itself and tell
// nobody, and what was asked of the old router would never be answered.
import { readFile } from "node:fs/promises";
import { Dealer } from "zeromq";
import { decode, encode, MAX_MESSAGE, newId } from "./wire.js";

const SHAKE_HANDS = 5000; // milliseconds
const QUEUE = 10000; // messages, either way
const OVER = new Set(["disconnect", "close", "connect:retry", "handshake:error:other"]);
const REFUSED = new Set(["handshake:error:auth", "handshake:error:protocol"]);

/** No connection: nobody answers there, the key is not known, or the connection file is none. */
export class ConnectError extends Error {}

/** The connection broke; `sent` says whether the request had been given to it. */
export class LostError extends Error {
  constructor(sent) {
    super("the connection broke");
    this.sent = sent;
  }
}

async function readAddress(path) {
  let found;
  try {
    found = await readFile(path, "utf8");
  } catch (error) {
    throw new ConnectError(`cannot read ${path}: ${error.code}; is actord running on this host?`);
  }
  try {
    found = JSON.parse(found);
    const endpoint = found.endpoint ?? found.endpoints[0];
    if (typeof endpoint !== "string") throw new TypeError();
    return { ...found, endpoint };
  } catch {
    throw new ConnectError(`${path} is no connection file: actr keys new makes one`);
  }
}

/** One connection, until it breaks. */
export class Link {
  static async open(path) {
    const link = new Link(await readAddress(path));
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new ConnectError(`nobody answers at ${link.address.endpoint}`)), SHAKE_HANDS);
    });
    try {
      await Promise.race([link.#shakeHands(), late]);
      await Promise.race([link.#greet(), late]);
      return link;
    } catch (error) {
      link.close();
      throw error;
    } finally {
      clearTimeout(timer);
      late.catch(() => {});
    }
  }

  #socket;
  #waiting = new Map();
  #sending = Promise.resolve();

  constructor(address) {
    this.address = address;
    this.isOver = false;
    this.welcome = {};
    this.#socket = new Dealer({
      linger: 0, immediate: true, reconnectInterval: -1, maxMessageSize: MAX_MESSAGE, sendHighWaterMark: QUEUE,
      receiveHighWaterMark: QUEUE, ipv6: true, handshakeInterval: 4000, tcpKeepalive: 1, tcpKeepaliveIdle: 1,
      tcpKeepaliveInterval: 1, tcpKeepaliveCount: 3, tcpMaxRetransmitTimeout: 3000,
    });
    if (address.server) {
      this.#socket.curveServerKey = address.server;
      this.#socket.curvePublicKey = address.public;
      this.#socket.curveSecretKey = address.secret;
    }
  }

  async #shakeHands() {
    const { endpoint } = this.address;
    const events = this.#socket.events;
    this.#socket.connect(endpoint);
    for (let event = await events.receive(); event.type !== "handshake"; event = await events.receive()) {
      if (REFUSED.has(event.type)) {
        throw new ConnectError(`the daemon at ${endpoint} does not know this key: actr keys allow, there`);
      }
      if (OVER.has(event.type)) throw new ConnectError(`nobody answers at ${endpoint}, or it has another key`);
    }
    this.#watch(events);
    this.#receive();
  }

  async #watch(events) {
    try {
      while (!OVER.has((await events.receive()).type));
    } catch {
      // it was closed
    }
    this.#end();
  }

  async #receive() {
    try {
      for await (const frames of this.#socket) {
        try {
          const message = decode(frames);
          this.#waiting.get(message.header.re?.toString("hex"))?.put(message);
        } catch {
          // not a message of the protocol: what is asked has its deadline
        }
      }
    } catch {
      // it was closed
    }
    this.#end();
  }

  #end() {
    this.isOver = true;
    for (const inbox of this.#waiting.values()) inbox.put(null); // behind what has come before the end
  }

  async #greet() {
    const id = newId();
    const inbox = this.inbox(id);
    await this.send({ t: "HELLO", id }, { minor: 0, features: [] });
    const message = await inbox.get();
    this.forget(id);
    if (message?.header.t !== "WELCOME") throw new ConnectError(`what answers at ${this.address.endpoint} is not actord`);
    this.welcome = message.body();
  }

  /** One after the other: a socket sends one message at a time. */
  send(header, body, buffers) {
    const frames = encode(header, body, buffers);
    const sent = this.#sending.then(async () => {
      if (this.isOver) throw new LostError(false);
      try {
        await this.#socket.send(frames);
      } catch {
        throw new LostError(false);
      }
    });
    this.#sending = sent.catch(() => {});
    return sent;
  }

  /** Says that `id` is no longer wanted; whether that is heard makes no difference here. */
  cancel(id) {
    if (!this.isOver) this.send({ t: "CANCEL", re: id }).catch(() => {});
  }

  /** Where the messages about `id` arrive; null there says that the link is over. */
  inbox(id) {
    const inbox = new Inbox();
    this.#waiting.set(id.toString("hex"), inbox);
    if (this.isOver) inbox.put(null);
    return inbox;
  }

  forget(id) {
    this.#waiting.delete(id.toString("hex"));
  }

  close() {
    this.#end();
    this.#socket.close();
  }
}

class Inbox {
  #items = [];
  #taker = null;

  put(item) {
    if (this.#taker) {
      this.#taker(item);
      this.#taker = null;
    } else this.#items.push(item);
  }

  get() {
    if (this.#items.length) return Promise.resolve(this.#items.shift());
    return new Promise((taker) => (this.#taker = taker));
  }
}
