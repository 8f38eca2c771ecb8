// Messages to frames and back, as docs/protocol.md has it under "Frames".
import { randomBytes } from "node:crypto";
import { decode as unpack, encode as pack, ProtocolError } from "./msgpack.js";

export const MAX_MESSAGE = 64 * 1024 * 1024;
const SIGNATURE = Buffer.from("ACTD1");
const EMPTY = Buffer.of(0x80);
const MAX_BUFFERS = 16;
const MAX_NAME = 256;
const TYPES = new Set([
  "HELLO", "WELCOME", "REQ", "NOTE", "PART", "FIN", "ERR", "CANCEL", "CREDIT", "SUB", "EVT", "PING", "PONG", "BYE",
]);
const KEYS = {
  t: "text", id: "bytes", re: "bytes", to: "text", fr: "text", inc: "number", m: "text", dl: "number", ik: "text",
  sq: "number", nr: "number", cr: "number", tr: "text",
};

export const newId = () => randomBytes(16);

/**
 * The frames of a message. Throws ProtocolError also for what a router would refuse as malformed: it could not say
 * whose message that was.
 */
export function encode(header, body = {}, buffers = []) {
  const frames = [SIGNATURE, pack(header), pack(body), ...buffers];
  decode(frames);
  return frames;
}

/** Reads a message. `body()` reads its body. Both throw ProtocolError. */
export function decode(frames) {
  if (frames.length && frames[0].length === 0) frames = frames.slice(1);
  if (frames.length < 2 || !SIGNATURE.equals(frames[0])) throw new ProtocolError("not a message of actord");
  const size = frames.reduce((sum, frame) => sum + frame.length, 0);
  if (frames.length > 3 + MAX_BUFFERS || size > MAX_MESSAGE) throw new ProtocolError("too many buffers or bytes");
  const found = unpack(frames[1]);
  if (kind(found) !== "map") throw new ProtocolError("the header is not a map");
  const header = Object.fromEntries(Object.keys(KEYS).filter((key) => Object.hasOwn(found, key)).map((key) => [key, found[key]]));
  for (const [key, value] of Object.entries(header)) check(key, value);
  if (!TYPES.has(header.t)) throw new ProtocolError("a message of no known type");
  const packed = frames.length > 2 ? frames[2] : EMPTY;
  return { header, body: () => unpack(packed), buffers: frames.slice(3) };
}

function check(key, value) {
  if (kind(value) !== KEYS[key]) throw new ProtocolError(`header key ${key} has the wrong type`);
  const length = typeof value === "string" ? [...value].length : value.length;
  if (value < 0 || length > MAX_NAME) throw new ProtocolError(`header key ${key} is out of bounds`);
}

function kind(value) {
  if (typeof value === "string") return "text";
  if (typeof value === "bigint" || Number.isInteger(value)) return "number";
  if (value instanceof Uint8Array) return "bytes";
  return value !== null && typeof value === "object" && !Array.isArray(value) ? "map" : "";
}
