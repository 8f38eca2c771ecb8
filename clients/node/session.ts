// What every client shows that it can do (clients/README.md).
//
//     npx tsc && node build/session.js vectors | session FILE IMAGE | streams FILE
import { createInterface } from "node:readline";
import { Client, Container, ProtocolError, RequestError, type Output } from "actord-client";
import { decode, encode } from "actord-client/wire.js";

const INPUT = Buffer.concat([Buffer.from("hello\n"), Buffer.alloc(199994, "x")]);
const SHOUT = ["sh", "-c", "tr a-z A-Z; echo done >&2; exit 7"];
const COUNT = ["sh", "-c", "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done"];
const WAITS = 5000; // more than a peer may have waiting
const ALLOWED = 4096;
const LINES = 60;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const say = (text: string): void => console.log(text);

// The vectors

async function vectors(): Promise<void> {
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    const words = line.value ? line.value.split(" ") : [];
    say(readMessage(words.map((word) => (word === "-" ? Buffer.alloc(0) : Buffer.from(word, "hex")))));
  }
}

function readMessage(frames: Buffer[]): string {
  let what = "message";
  try {
    const message = decode(frames);
    what = "body";
    const again = encode(message.header, message.body(), message.buffers);
    return ["ok", ...again.map((frame) => frame.toString("hex") || "-")].join(" ");
  } catch (error) {
    if (error instanceof ProtocolError) return `refused ${what}`;
    throw error;
  }
}

// The session

async function session(path: string, image: string): Promise<void> {
  const actord = await Client.connect(path);
  say(`connected, protocol ${actord.welcome.protocol}`);
  const { actors } = await actord.request("introspection.actors", { memory: false }, { to: "supervisor" });
  if (actors.some((one: { name: string }) => one.name === "metadata")) say("list: metadata is there");
  await lookForNobody(actord);
  await sendNonsense(actord);
  let seen = 0;
  const pulled = await actord.pull(image, { progress: () => seen++ });
  say(`pull: ${seen ? "progress, then " : ""}${pulled.name}`);
  await run(actord, image);
  const box = await actord.create(image, ["sleep", "1000"]);
  await box.start();
  const pieces = await everything(box.output({ exec_id: await box.exec(["echo", "from exec"]) }));
  say(`exec: ${text(pieces, 1).toString().trim()}, exit ${pieces.at(-1)?.exitCode}`);
  await events(actord, box);
  await overload(actord, box);
  await box.remove({ force: true });
  await reconnect(actord, image);
  say("bye");
  actord.close();
}

async function lookForNobody(actord: Client): Promise<void> {
  try {
    await actord.request("containers.get", { namespace: "default", id: "nobody" }, { to: "metadata" });
  } catch (error) {
    if (error instanceof RequestError) say(`error: ${error.code}`);
  }
}

async function sendNonsense(actord: Client): Promise<void> {
  try {
    await actord.request("containers.get", {}, { to: "x".repeat(300) });
  } catch (error) {
    if (error instanceof ProtocolError) say("malformed: not sent");
  }
}

async function everything<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const text = (pieces: Output[], stream: number): Buffer =>
  Buffer.concat(pieces.filter((one) => one.stream === stream).map((one) => one.bytes));

/** Input and output at the same time. */
async function run(actord: Client, image: string): Promise<void> {
  const box = await actord.create(image, SHOUT, { stdin: true });
  await box.start();
  const [pieces] = await Promise.all([everything(box.output()), box.write(INPUT)]);
  const out = text(pieces, 1);
  const right = out.toString() === INPUT.toString().toUpperCase() ? out.length : "wrong";
  say(`run: ${right} bytes out, ${text(pieces, 2).length} bytes err, exit ${pieces.at(-1)?.exitCode}`);
  await box.remove();
}

async function events(actord: Client, box: Container): Promise<void> {
  const topics: string[] = [];
  let after = 0;
  for (const wanted of [1, 3]) {
    for await (const event of actord.events({ container_id: box.id, after })) {
      after = event.seq;
      if (topics.push(event.body.topic) === wanted) break;
    }
  }
  say(`events: ${topics[0]}, resumed: ${topics[1]} ${topics[2]}`);
}

/** More waits than are allowed; room made by cancelling; then a request that is tried until it passes. */
async function overload(actord: Client, box: Container): Promise<void> {
  const aborts = Array.from({ length: WAITS }, () => new AbortController());
  const counts = { refused: 0, cancelled: 0, exited: 0 };
  let enough: () => void;
  const overloaded = new Promise<void>((done) => (enough = done));
  const waits = aborts.map(async ({ signal }) => {
    try {
      const { exit_code } = await actord.request("tasks.wait", {}, { to: box.actor, limit: 600000, once: true, signal });
      counts.exited += exit_code === 137 ? 1 : 0;
    } catch (error) {
      if (signal.aborted) counts.cancelled++;
      else if (error instanceof RequestError && error.code === "overloaded" && ++counts.refused >= WAITS - ALLOWED) enough();
    }
  });
  await overloaded;
  for (const abort of aborts.slice(0, 10)) abort.abort(); // the first ones were let in
  await actord.request("tasks.kill", { signal: 9 }, { to: box.actor, repeatable: true });
  const answered = (await Promise.all(waits)).length;
  const all = counts.refused && counts.cancelled && counts.exited;
  say(`overload: ${answered} answered, ${all ? "refused, cancelled and done" : JSON.stringify(counts)}`);
}

async function reconnect(actord: Client, image: string): Promise<void> {
  const box = await actord.create(image, COUNT);
  await box.start();
  let out = "";
  let told = false;
  for await (const piece of box.output()) {
    out += piece.bytes.toString();
    if (!told) {
      say("kill the router");
      told = (await lines.next()).value === "killed";
    }
    if (actord.reconnections && out.split("\n").length > LINES) break;
  }
  const found = out.split("\n").slice(0, -1);
  const inOrder = found.every((line, number) => line === `line ${number}`);
  say(`reconnected: ${told && inOrder ? "every line, once" : out}`);
  await box.remove({ force: true });
}

/** Streams of which something is missing: whoever drives this leaves out messages, and says some twice. */
async function streams(path: string): Promise<void> {
  const actord = await Client.connect(path);
  const pieces = await everything((await actord.create("image")).output());
  say(`output: ${text(pieces, 1)}, exit ${pieces.at(-1)?.exitCode}`);
  const topics: string[] = [];
  for await (const event of actord.events()) {
    if (topics.push(event.body.topic) === 4) break;
  }
  say(`events: ${topics.join(" ")}`);
  actord.close();
}

const [mode, path, image] = process.argv.slice(2);
try {
  if (mode === "vectors") await vectors();
  else if (mode === "session" && path && image) await session(path, image);
  else if (mode === "streams" && path) await streams(path);
  else throw new Error("session vectors | session session FILE IMAGE | session streams FILE");
  process.exit(0);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
