/** The envelope by itself: for those who want to see frames. */
export interface Message {
  header: Record<string, unknown>;
  /** Throws ProtocolError. */
  body(): any;
  buffers: Buffer[];
}
/** Throws ProtocolError. */
export function decode(frames: Buffer[]): Message;
export function encode(header: object, body?: unknown, buffers?: Uint8Array[]): Buffer[];
export function newId(): Buffer;
