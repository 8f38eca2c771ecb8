//! What every client shows that it can do (clients/README.md): `session vectors`, `session session FILE IMAGE`,
//! `session streams FILE`.

use std::collections::HashSet;
use std::env;
use std::io::{self, BufRead};
use std::process::exit;
use std::time::Duration;

use actord::client::{new_id, put, Follower, CREDIT, PIECE};
use actord::value::{map, Value};
use actord::wire::{decode, encode};
use actord::{Ask, Client, Error, Message};

const WAITS: usize = 5000; // more than a peer may have waiting
const ALLOWED: usize = 4096;
const LINES: usize = 60;

// The vectors

fn vectors() {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", read_message(line.split_whitespace().map(from_hex).collect()));
    }
}

fn from_hex(word: &str) -> Vec<u8> {
    let digits = word.trim_matches('-');
    (0..digits.len()).step_by(2).filter_map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

fn to_hex(frame: &[u8]) -> String {
    if frame.is_empty() { "-".to_string() } else { frame.iter().map(|byte| format!("{byte:02x}")).collect() }
}

fn read_message(frames: Vec<Vec<u8>>) -> String {
    let message = match decode(frames) {
        Ok(message) => message,
        Err(_) => return "refused message".to_string(),
    };
    let body = match Value::unpack(&message.packed) {
        Ok(body) => body,
        Err(_) => return "refused body".to_string(),
    };
    let buffers: Vec<&[u8]> = message.buffers.iter().map(Vec::as_slice).collect();
    match encode(&message.header, &body, &buffers) {
        Ok(again) => format!("ok {}", again.iter().map(|one| to_hex(one)).collect::<Vec<_>>().join(" ")),
        Err(why) => format!("cannot be written: {why}"),
    }
}

// The session

struct Container {
    id: String,
    actor: String,
}

fn create(actord: &mut Client, image: &str, args: &[&str], stdin: bool) -> Result<Container, Error> {
    let options = map([("args", args.into()), ("stdin", stdin.into())]);
    let wish = map([("namespace", "default".into()), ("image", image.into()), ("options", options)]);
    let made = actord.request("containers.create", &wish, Ask::of("metadata"))?;
    let made = Container { id: made.get("id").text().to_string(), actor: made.get("actor").text().to_string() };
    actord.request("tasks.start", &map([("run", 1.into())]), Ask::repeatably(&made.actor))?;
    Ok(made)
}

/// Its actor goes with it, at times before its answer: asked again, nobody is there.
fn remove(actord: &mut Client, container: &Container) -> Result<(), Error> {
    let force = map([("force", true.into())]);
    match actord.request("containers.remove", &force, Ask::repeatably(&container.actor)) {
        Err(error) if error.code() != "not_found" => Err(error),
        _ => Ok(()),
    }
}

/// What a container writes; goes on where it was after a break, until `enough` says so.
struct Output<E> {
    exec_id: &'static str,
    out: Vec<u8>,
    err: Vec<u8>,
    enough: E,
}

impl<E: FnMut(&Client, &[u8]) -> bool> Follower for Output<E> {
    fn body(&self) -> Value {
        map([
            ("stdout", (self.out.len() as i64).into()),
            ("stderr", (self.err.len() as i64).into()),
            ("follow", true.into()),
            ("exec_id", self.exec_id.into()),
        ])
    }

    fn part(&mut self, client: &Client, message: &Message) -> bool {
        let stream = if message.body().get("stream").int() == Some(1) { &mut self.out } else { &mut self.err };
        stream.extend(message.bytes());
        (self.enough)(client, &self.out)
    }
}

fn read_all(
    actord: &mut Client, container: &Container, exec_id: &'static str,
) -> Result<(Vec<u8>, Vec<u8>, i64), Error> {
    let mut output = Output { exec_id, out: vec![], err: vec![], enough: |_: &Client, _: &[u8]| false };
    let last = actord.stream("tasks.output", &container.actor, CREDIT, &mut output)?;
    let code = last.and_then(|last| last.get("exit_code").int()).unwrap_or(-1);
    Ok((output.out, output.err, code))
}

fn list(actord: &mut Client) -> Result<(), Error> {
    let found = actord.request("introspection.actors", &map([]), Ask::repeatably("supervisor"))?;
    if found.get("actors").array().iter().any(|one| one.get("name").text() == "metadata") {
        println!("list: metadata is there");
    }
    let nobody = map([("namespace", "default".into()), ("id", "nobody".into())]);
    if let Err(error) = actord.request("containers.get", &nobody, Ask::of("metadata")) {
        println!("error: {}", error.code());
    }
    if let Err(error) = actord.request("containers.get", &map([]), Ask::of(&"x".repeat(300))) {
        println!("malformed: {}", if error.code() == "invalid_argument" { "not sent" } else { error.code() });
    }
    Ok(())
}

struct Progress(usize);

impl Follower for Progress {
    fn body(&self) -> Value {
        map([])
    }

    fn part(&mut self, _: &Client, _: &Message) -> bool {
        self.0 += 1;
        false
    }
}

fn pull(actord: &mut Client, image: &str) -> Result<(), Error> {
    let wish = map([("namespace", "default".into()), ("reference", image.into())]);
    let pull = actord.request("images.pull", &wish, Ask::repeatably("supervisor"))?;
    let mut progress = Progress(0);
    let pulled = actord.stream("transfers.attach", pull.get("actor").text(), CREDIT, &mut progress)?;
    let before = if progress.0 > 0 { "progress, then " } else { "" };
    println!("pull: {before}{}", pulled.unwrap_or(Value::Nil).get("name").text());
    Ok(())
}

fn run(actord: &mut Client, image: &str) -> Result<(), Error> {
    let container = create(actord, image, &["sh", "-c", "tr a-z A-Z; echo done >&2; exit 7"], true)?;
    let input = ["hello\n", &"x".repeat(199_994)].concat().into_bytes();
    for (number, piece) in input.chunks(PIECE).enumerate() {
        let body = map([("writer", container.id.as_str().into()), ("offset", ((number * PIECE) as i64).into())]);
        actord.request("tasks.input", &body, Ask { buffers: &[piece], ..Ask::repeatably(&container.actor) })?;
    }
    actord.request("tasks.close_io", &map([]), Ask::repeatably(&container.actor))?;
    let (out, err, code) = read_all(actord, &container, "")?;
    let right = if out == input.to_ascii_uppercase() { out.len() } else { 0 };
    println!("run: {right} bytes out, {} bytes err, exit {code}", err.len());
    remove(actord, &container)
}

fn exec(actord: &mut Client, container: &Container) -> Result<(), Error> {
    let body = map([("exec_id", "one".into()), ("args", ["echo", "from exec"][..].into())]);
    actord.request("tasks.exec", &body, Ask::repeatably(&container.actor))?;
    let (out, _, code) = read_all(actord, container, "one")?;
    println!("exec: {}, exit {code}", String::from_utf8_lossy(&out).trim());
    Ok(())
}

struct Events<'a> {
    container_id: &'a str,
    last: i64,
    topics: Vec<String>,
    wanted: usize,
}

impl Follower for Events<'_> {
    fn body(&self) -> Value {
        map([("container_id", self.container_id.into()), ("after", self.last.into()), ("follow", true.into())])
    }

    fn part(&mut self, _: &Client, event: &Message) -> bool {
        self.last = event.header.get("sq").int().unwrap_or(0);
        self.topics.push(event.body().get("topic").text().to_string());
        self.topics.len() == self.wanted
    }
}

fn events(actord: &mut Client, container: &Container) -> Result<(), Error> {
    let mut events = Events { container_id: &container.id, last: 0, topics: vec![], wanted: 1 };
    actord.stream("events.subscribe", "events", 16, &mut events)?;
    events.wanted = 3;
    actord.stream("events.subscribe", "events", 16, &mut events)?;
    println!("events: {}, resumed: {} {}", events.topics[0], events.topics[1], events.topics[2]);
    Ok(())
}

/// What has become of many waits.
#[derive(Default)]
struct Waits {
    open: HashSet<Vec<u8>>,
    answered: usize,
    refused: usize,
    cancelled: usize,
    exited: usize,
}

impl Waits {
    /// Until there are so many of what is counted, or a second has brought nothing.
    fn count_until(&mut self, actord: &mut Client, count: fn(&Waits) -> usize, wanted: usize) {
        while count(self) < wanted {
            match actord.receive(Duration::from_secs(1)) {
                Ok(Some(message)) => self.count(&message),
                _ => return,
            }
        }
    }

    fn count(&mut self, message: &Message) {
        let known = matches!(message.header.get("re"), Value::Bytes(re) if self.open.remove(re));
        let body = message.body();
        self.answered += usize::from(known);
        self.refused += usize::from(known && body.get("code").text() == "overloaded");
        self.cancelled += usize::from(known && body.get("code").text() == "unavailable");
        self.exited += usize::from(known && body.get("exit_code").int() == Some(137));
    }
}

fn send(actord: &mut Client, op: &str, container: &Container, body: &Value) -> Vec<u8> {
    let id = new_id();
    let mut header = actord.request_header(op, &container.actor, &id);
    put(&mut header, "dl", 600_000);
    actord.send(&header, body, &[]).expect("the router reads");
    id.to_vec()
}

/// More waits than are allowed; room made by cancelling; then a request that is tried until it passes.
fn overload(actord: &mut Client, container: &Container) {
    let mut waits = Waits::default();
    let ids: Vec<Vec<u8>> = (0..WAITS).map(|_| send(actord, "tasks.wait", container, &map([]))).collect();
    waits.open.extend(ids.iter().cloned());
    waits.count_until(actord, |waits| waits.refused, WAITS - ALLOWED);
    for id in &ids {
        // the first ones were let in
        if waits.cancelled == 0 {
            actord.cancel(id).expect("the router reads");
            waits.count_until(actord, |waits| waits.cancelled, 1);
        }
    }
    for _ in 0..100 {
        if waits.exited == 0 {
            send(actord, "tasks.kill", container, &map([("signal", 9.into())]));
            waits.count_until(actord, |waits| waits.exited, 1);
        }
    }
    waits.count_until(actord, |waits| waits.answered, WAITS);
    let all = waits.refused > 0 && waits.cancelled > 0 && waits.exited > 0;
    println!("overload: {} answered, {}", waits.answered, if all { "refused, cancelled and done" } else { "?" });
}

fn reconnect(actord: &mut Client, image: &str) -> Result<(), Error> {
    let script = "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done";
    let container = create(actord, image, &["sh", "-c", script], false)?;
    let mut told = String::new();
    let enough = |client: &Client, out: &[u8]| {
        if told.is_empty() {
            println!("kill the router");
            let _ = io::stdin().lock().read_line(&mut told); // an empty line is seen to below
        }
        client.reconnections() > 0 && out.iter().filter(|&&byte| byte == b'\n').count() >= LINES
    };
    let mut output = Output { exec_id: "", out: vec![], err: vec![], enough };
    actord.stream("tasks.output", &container.actor, CREDIT, &mut output)?;
    let text = String::from_utf8_lossy(&output.out).into_owned();
    let lines = &text[..text.rfind('\n').map_or(0, |at| at)];
    let in_order = lines.lines().enumerate().all(|(number, line)| line == format!("line {number}"));
    println!("reconnected: {}", if told == "killed\n" && in_order { "every line, once" } else { &text });
    remove(actord, &container)
}

fn session(path: &str, image: &str) -> Result<(), Error> {
    let mut actord = Client::connect(path)?;
    println!("connected, protocol {}", actord.welcome.get("protocol").int().unwrap_or(0));
    list(&mut actord)?;
    pull(&mut actord, image)?;
    run(&mut actord, image)?;
    let container = create(&mut actord, image, &["sleep", "1000"], false)?;
    exec(&mut actord, &container)?;
    events(&mut actord, &container)?;
    overload(&mut actord, &container);
    remove(&mut actord, &container)?;
    reconnect(&mut actord, image)?;
    println!("bye");
    Ok(())
}

/// Streams of which something is missing: whoever drives this leaves out messages, and says some twice.
fn streams(path: &str) -> Result<(), Error> {
    let mut actord = Client::connect(path)?;
    let container = create(&mut actord, "image", &[], false)?;
    let (out, _, code) = read_all(&mut actord, &container, "")?;
    println!("output: {}, exit {code}", String::from_utf8_lossy(&out));
    let mut events = Events { container_id: "", last: 0, topics: vec![], wanted: 4 };
    actord.stream("events.subscribe", "events", 16, &mut events)?;
    println!("events: {}", events.topics.join(" "));
    Ok(())
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["vectors"] => Ok(vectors()),
        ["session", path, image] => session(path, image),
        ["streams", path] => streams(path),
        _ => {
            eprintln!("session vectors | session session FILE IMAGE | session streams FILE");
            exit(2);
        }
    };
    if let Err(error) = done {
        eprintln!("{error}");
        exit(1);
    }
}
