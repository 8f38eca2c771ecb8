/** Client of actord; docs/protocol.md has every operation. Times are milliseconds unless an operation says otherwise. */

/** No connection: nobody answers there, the key is not known, or the connection file is none. */
export class ConnectError extends Error {}

/** Bytes, or a value, that do not follow the protocol. */
export class ProtocolError extends Error {}

export type Code =
  | "not_found" | "already_exists" | "invalid_argument" | "failed_precondition" | "unavailable" | "overloaded"
  | "deadline_exceeded" | "permission_denied" | "not_implemented" | "internal";

/** A request ended without a result. */
export class RequestError extends Error {
  code: Code;
  /** `not_started`: nothing happened; `done`: this is its result; `unknown`: it may have happened. */
  outcome: "not_started" | "done" | "unknown";
  retryable: boolean;
  /** Who answered or died, where known. */
  actor: string;
  details: Record<string, unknown>;
  /** A living actor said so: it is the answer, and no misfortune of the way. */
  final: boolean;
}

/** What msgpack can carry. Integers beyond 2^53 are BigInt, bytes are Buffer. */
export type Value = null | boolean | number | bigint | string | Uint8Array | Value[] | { [key: string]: Value | undefined };
export type Body = { [key: string]: any };

export interface RequestOptions {
  /** The actor that is asked. */
  to: string;
  /** How long to wait and to try. 30,000. */
  limit?: number;
  /** The operation may be repeated when it may have happened already, as docs/protocol.md says of it. */
  repeatable?: boolean;
  /** Try once, and leave it to the caller what to do about an error. */
  once?: boolean;
  buffers?: Uint8Array[];
  /** Cancels the request. */
  signal?: AbortSignal;
}

export interface StreamOptions {
  to: string;
  /** What may be under way: bytes of buffers, or events. */
  credit?: number;
  /** The body to go on with after the router or the actor has died, or an answer was lost; the same one otherwise. */
  resume?: () => Body;
}

export interface Part {
  body: Body;
  buffers: Buffer[];
  seq: number;
  /** The last one; its body is the result. */
  final: boolean;
}

export interface Output {
  /** 1 or 2; 0 for the end, which has the exit code. */
  stream: 0 | 1 | 2;
  bytes: Buffer;
  exitCode: number | null;
  end: boolean;
}

/** A connection that renews itself. */
export class Client {
  /** Throws ConnectError. Without a path: $ACTORD_CONNECTION, or /run/actord/connection.json. */
  static connect(path?: string): Promise<Client>;
  readonly path: string;
  /** How often the connection has been renewed. */
  readonly reconnections: number;
  /** What the router said of itself. */
  readonly welcome: Body;
  /** What requests belong to: a trace id or a `traceparent`. $TRACEPARENT if it is one, else a new id. */
  trace: string;
  close(): void;
  /** Throws RequestError, ConnectError. */
  request(op: string, body: Body, options: RequestOptions): Promise<Body>;
  /** Leaving the loop cancels. Throws RequestError, ConnectError. */
  stream(op: string, body: Body, options: StreamOptions): AsyncGenerator<Part, void, void>;
  /** Gives the image. */
  pull(
    reference: string,
    options?: { namespace?: string; progress?: (at: { ref: string; status: string; offset: number; total: number }) => void },
  ): Promise<Body>;
  /** Further options as in docs/protocol.md under "Options of a container". */
  create(
    image: string, args?: string[], options?: { namespace?: string; name?: string; stdin?: boolean; [option: string]: Value | undefined },
  ): Promise<Container>;
  /** Events past number `after`, across restarts of everything. */
  events(
    which?: { after?: number; follow?: boolean; namespace?: string; topic?: string; container_id?: string },
  ): AsyncGenerator<Part, void, void>;
}

export class Container {
  readonly id: string;
  /** The name of its actor. */
  readonly actor: string;
  start(): Promise<void>;
  /** Its standard input, then the end of it; taken once, however often the connection breaks. */
  write(
    chunks: string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>, options?: { exec_id?: string },
  ): Promise<void>;
  /** Nothing lost and nothing twice, across restarts of everything. */
  output(options?: { exec_id?: string; follow?: boolean }): AsyncGenerator<Output, void, void>;
  /** Runs a further process; gives its exec_id. */
  exec(args: string[], options?: Body): Promise<string>;
  /** Its exit code; null for unknown. */
  wait(): Promise<number | null>;
  /** The stop signal, then SIGKILL after `grace` seconds. */
  stop(grace?: number | null): Promise<void>;
  remove(options?: { force?: boolean }): Promise<void>;
}
