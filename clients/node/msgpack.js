// msgpack, as docs/protocol.md has it under "Values": integers of any size, text that is UTF-8, no extensions.
// Integers come as numbers where those are exact, as BigInt beyond; both can be sent. Bytes are Buffers.

export const MAX_BODY = 16 * 1024 * 1024;
const MAX_DEPTH = 64;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What does not follow the protocol. */
export class ProtocolError extends Error {}

/** @param {unknown} value */
export function encode(value) {
  /** @type {Buffer[]} */
  const chunks = [];
  write(value, chunks);
  return Buffer.concat(chunks);
}

function write(value, chunks) {
  if (value === null || value === undefined) chunks.push(Buffer.of(0xc0));
  else if (typeof value === "boolean") chunks.push(Buffer.of(value ? 0xc3 : 0xc2));
  else if (typeof value === "bigint" || Number.isSafeInteger(value)) chunks.push(integer(BigInt(value)));
  else if (typeof value === "number") chunks.push(real(value));
  else if (typeof value === "string") sized(Buffer.from(value), 0xd9, 0xa0, 32, chunks);
  else if (value instanceof Uint8Array) sized(value, 0xc4, 0, 0, chunks);
  else if (Array.isArray(value)) {
    chunks.push(head(value.length, 0x90, 0xdc));
    for (const one of value) write(one, chunks);
  } else if (typeof value === "object") {
    const pairs = Object.entries(value).filter(([, inner]) => inner !== undefined);
    chunks.push(head(pairs.length, 0x80, 0xde));
    for (const [key, inner] of pairs) {
      write(key, chunks);
      write(inner, chunks);
    }
  } else throw new ProtocolError(`a ${typeof value} cannot be sent`);
}

function number(tag, width, value) {
  const bytes = Buffer.alloc(1 + width);
  bytes[0] = tag;
  for (let at = width; at > 0; at--, value >>= 8n) bytes[at] = Number(value & 0xffn);
  return bytes;
}

function integer(value) {
  if (value < -(1n << 63n) || value >= 1n << 64n) throw new ProtocolError(`${value} has more than 64 bits`);
  if (value >= -32n && value < 128n) return Buffer.of(Number(value & 0xffn));
  const negative = value < 0n;
  const reach = negative ? -value * 2n - 1n : value; // what an unsigned number of the same width has to hold
  const power = reach < 1n << 8n ? 0 : reach < 1n << 16n ? 1 : reach < 1n << 32n ? 2 : 3;
  return number((negative ? 0xd0 : 0xcc) + power, 1 << power, value);
}

function real(value) {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xcb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function head(length, small, large) {
  if (length < 16) return Buffer.of(small | length);
  return length < 65536 ? number(large, 2, BigInt(length)) : number(large + 1, 4, BigInt(length));
}

function sized(bytes, tag, small, below, chunks) {
  const size = bytes.length;
  const power = size < 256 ? 0 : size < 65536 ? 1 : 2;
  chunks.push(size < below ? Buffer.of(small | size) : number(tag + power, 1 << power, BigInt(size)));
  chunks.push(bytes);
}

/** Exactly one value. Throws ProtocolError. @param {Uint8Array} bytes @returns {any} */
export function decode(bytes) {
  if (bytes.length > MAX_BODY) throw new ProtocolError(`a value of more than ${MAX_BODY} bytes`);
  const reader = new Reader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const value = reader.value(MAX_DEPTH);
  if (reader.at !== bytes.length) throw new ProtocolError("bytes behind a value");
  return value;
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(size) {
    if (this.bytes.length - this.at < size) throw new ProtocolError("a value that is cut short");
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  size(width) {
    return this.take(width).readUIntBE(0, width);
  }

  text(size) {
    try {
      return text.decode(this.take(size));
    } catch (error) {
      throw error instanceof ProtocolError ? error : new ProtocolError("text that is not UTF-8");
    }
  }

  value(depth) {
    const tag = this.size(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.map(tag & 15, depth);
    if (tag < 0xa0) return this.array(tag & 15, depth);
    if (tag < 0xc0) return this.text(tag & 31);
    if (tag >= 0xe0) return tag - 256;
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.take(this.size(1 << (tag - 0xc4)));
      case 0xca: return this.take(4).readFloatBE(0);
      case 0xcb: return this.take(8).readDoubleBE(0);
      case 0xcc: case 0xcd: case 0xce: return this.size(1 << (tag - 0xcc));
      case 0xcf: return exact(this.take(8).readBigUInt64BE(0));
      case 0xd0: case 0xd1: case 0xd2: return this.take(1 << (tag - 0xd0)).readIntBE(0, 1 << (tag - 0xd0));
      case 0xd3: return exact(this.take(8).readBigInt64BE(0));
      case 0xd9: case 0xda: case 0xdb: return this.text(this.size(1 << (tag - 0xd9)));
      case 0xdc: case 0xdd: return this.array(this.size(2 << (tag - 0xdc)), depth);
      case 0xde: case 0xdf: return this.map(this.size(2 << (tag - 0xde)), depth);
      default: throw new ProtocolError("an extension type");
    }
  }

  array(length, depth) {
    if (depth === 0) throw new ProtocolError(`nested deeper than ${MAX_DEPTH}`);
    if (length > this.bytes.length - this.at) throw new ProtocolError("a value that is cut short");
    return Array.from({ length }, () => this.value(depth - 1));
  }

  map(length, depth) {
    if (depth === 0) throw new ProtocolError(`nested deeper than ${MAX_DEPTH}`);
    const found = {};
    for (let index = 0; index < length; index++) {
      const key = this.value(0);
      if (typeof key !== "string") throw new ProtocolError("a map with a key that is no string");
      const value = this.value(depth - 1); // a peer may call a key __proto__
      Object.defineProperty(found, key, { value, enumerable: true, writable: true, configurable: true });
    }
    return found;
  }
}

const exact = (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);
