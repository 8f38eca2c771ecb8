//! The client: one connection, watched, renewed when it breaks.

use std::env;
use std::fmt;
use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::value::{map, Value};
use crate::wire::{decode, encode, Message};

pub const CONNECTION: &str = "/run/actord/connection.json";
pub const CREDIT: i64 = 1 << 20;
/// Bytes of standard input in one request.
pub const PIECE: usize = 65_536;
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);
const SHAKE_HANDS: Duration = Duration::from_secs(5);
const QUEUE: i32 = 10_000;
static MONITORS: AtomicUsize = AtomicUsize::new(0);

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// No connection: nobody answers there, the key is not known, or the connection file is none.
    Connect(String),
    /// The answer is an error.
    Request(Failure),
}

/// An error that was answered, or why there is no answer.
#[derive(Debug)]
pub struct Failure {
    /// As in docs/protocol.md under "Errors".
    pub code: String,
    pub text: String,
    /// `not_started`, `done` or `unknown`.
    pub outcome: String,
    pub retryable: bool,
    /// A living actor said so: it is the answer, and no misfortune of the way.
    pub is_final: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Connect(text) => out.write_str(text),
            Error::Request(failure) => out.write_str(&failure.text),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// The code of a request's error, `connect` otherwise.
    pub fn code(&self) -> &str {
        match self {
            Error::Connect(_) => "connect",
            Error::Request(failure) => &failure.code,
        }
    }
}

/// The connection broke.
#[derive(Debug)]
pub struct Lost;

/// Why a message has not been sent.
#[derive(Debug)]
pub enum Unsent {
    Lost,
    /// A router would refuse it, and could not say whose it was.
    Malformed(&'static str),
}

/// How a request is made.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The actor that is asked.
    pub to: &'a str,
    /// How long to wait and to try.
    pub limit: Duration,
    /// What may have happened may be repeated.
    pub repeatable: bool,
    pub buffers: &'a [&'a [u8]],
}

impl<'a> Ask<'a> {
    pub fn of(to: &'a str) -> Self {
        Ask { to, limit: Duration::from_secs(30), repeatable: false, buffers: &[] }
    }

    pub fn repeatably(to: &'a str) -> Self {
        Ask { repeatable: true, ..Ask::of(to) }
    }
}

struct Link {
    socket: zmq::Socket,
    monitor: zmq::Socket,
}

/// A connection that renews itself.
pub struct Client {
    path: String,
    context: zmq::Context,
    link: Option<Link>,
    opened: u32,
    /// What the router said of itself.
    pub welcome: Value,
    /// What requests belong to: a trace id or a `traceparent`; that of the environment if it is one, else a new id.
    pub trace: String,
}

impl Client {
    /// Connects to the daemon that a connection file names.
    pub fn connect(path: &str) -> Result<Client, Error> {
        let mut client = Client {
            path: path.to_string(),
            context: zmq::Context::new(),
            link: None,
            opened: 0,
            welcome: Value::Nil,
            trace: env::var("TRACEPARENT").ok().filter(|parent| is_traceparent(parent)).unwrap_or_else(new_trace),
        };
        client.open()?;
        Ok(client)
    }

    /// How often the connection has been renewed.
    pub fn reconnections(&self) -> u32 {
        self.opened - 1
    }

    /// What has not begun is tried again until the limit.
    pub fn request(&mut self, op: &str, body: &Value, ask: Ask) -> Result<Value, Error> {
        let until = Instant::now() + ask.limit;
        loop {
            match self.ask(op, body, ask, until) {
                Err(Error::Request(failure)) if failure.retryable => {
                    let repeat = ask.repeatable && failure.outcome != "done";
                    let safe = failure.outcome == "not_started" || repeat;
                    if !safe || Instant::now() + RETRY > until {
                        return Err(Error::Request(failure));
                    }
                }
                other => return other,
            }
            sleep(RETRY);
        }
    }

    /// A stream: `follower` gives the body of each attempt, and so says where to go on after a break, or when an answer
    /// was lost on the way, and gets each message. Gives the final answer, `None` when the follower ended it.
    pub fn stream<F: Follower>(
        &mut self, op: &str, to: &str, credit: i64, follower: &mut F,
    ) -> Result<Option<Value>, Error> {
        let mut since = Instant::now();
        loop {
            match self.follow(op, to, credit, follower, &mut since) {
                Err(Error::Request(failure)) if failure.retryable => {
                    let over = failure.is_final && failure.code != "overloaded";
                    if over || since.elapsed() > PATIENCE {
                        return Err(Error::Request(failure));
                    }
                }
                other => return other,
            }
            sleep(RETRY);
        }
    }

    // For programs with many requests under way

    pub fn send(&mut self, header: &Value, body: &Value, buffers: &[&[u8]]) -> Result<(), Unsent> {
        let link = self.link.as_ref().ok_or(Unsent::Lost)?;
        let frames = encode(header, body, buffers).map_err(Unsent::Malformed)?;
        link.socket.send_multipart(frames, zmq::DONTWAIT).map_err(|_| Unsent::Lost)
    }

    /// The next message within so long, `None` for none.
    pub fn receive(&mut self, wait: Duration) -> Result<Option<Message>, Lost> {
        let until = Instant::now() + wait;
        let link = self.link.as_ref().ok_or(Lost)?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut items = [link.socket.as_poll_item(zmq::POLLIN), link.monitor.as_poll_item(zmq::POLLIN)];
            let ready = zmq::poll(&mut items, left.as_millis() as i64).map_err(|_| Lost)?;
            if ready == 0 && left.as_millis() == 0 {
                return Ok(None);
            }
            if items[0].is_readable() {
                // what had come before the end still counts
                if let Ok(message) = decode(link.socket.recv_multipart(0).map_err(|_| Lost)?) {
                    return Ok(Some(message));
                }
            } else if items[1].is_readable() && is_over(event(&link.monitor)) {
                return Err(Lost);
            }
        }
    }

    // One attempt

    fn ask(&mut self, op: &str, body: &Value, ask: Ask, until: Instant) -> Result<Value, Error> {
        let id = new_id();
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut header = self.request_header(op, ask.to, &id);
        put(&mut header, "dl", left.as_millis() as i64);
        if let Err(why) = self.send(&header, body, ask.buffers) {
            return Err(self.unsent(op, why));
        }
        match self.about(&id, left + LATE) {
            Ok(Some(message)) => result(&message),
            Ok(None) => Err(failure("deadline_exceeded", format!("{op}: no answer from {}", ask.to), "unknown")),
            Err(Lost) => Err(self.lost(op, "unknown")),
        }
    }

    fn follow<F: Follower>(
        &mut self, op: &str, to: &str, credit: i64, follower: &mut F, since: &mut Instant,
    ) -> Result<Option<Value>, Error> {
        let id = new_id();
        let mut used = 0;
        let mut heard = 0;
        let mut header = self.request_header(op, to, &id);
        put(&mut header, "cr", credit);
        if let Err(why) = self.send(&header, &follower.body(), &[]) {
            return Err(self.unsent(op, why));
        }
        loop {
            let message = match self.about(&id, Duration::from_secs(3600)) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(Lost) => return Err(self.lost(op, "unknown")),
            };
            heard += 1;
            if ![&Value::Nil, &heard.into()].contains(&message.header.get("nr")) {
                let _ = self.cancel(&id);
                return Err(failure("unavailable", format!("{op}: an answer was lost on the way"), "unknown"));
            }
            if !["PART", "EVT"].contains(&message.kind()) {
                return result(&message).map(Some);
            }
            *since = Instant::now();
            used += if message.kind() == "EVT" { 1 } else { message.bytes().len() as i64 };
            if follower.part(self, &message) {
                let _ = self.cancel(&id); // whether that is heard makes no difference here
                return Ok(None);
            }
            if used * 2 >= credit {
                let more = map([("t", "CREDIT".into()), ("re", id[..].into()), ("cr", used.into())]);
                if self.send(&more, &map([]), &[]).is_err() {
                    return Err(self.lost(op, "unknown"));
                }
                used = 0;
            }
        }
    }

    /// What a request begins with.
    pub fn request_header(&self, op: &str, to: &str, id: &[u8]) -> Value {
        let trace = self.trace.as_str();
        map([("t", "REQ".into()), ("id", id.into()), ("to", to.into()), ("m", op.into()), ("tr", trace.into())])
    }

    pub fn cancel(&mut self, id: &[u8]) -> Result<(), Unsent> {
        self.send(&map([("t", "CANCEL".into()), ("re", id.into())]), &map([]), &[])
    }

    fn about(&mut self, id: &[u8], wait: Duration) -> Result<Option<Message>, Lost> {
        let until = Instant::now() + wait;
        loop {
            match self.receive(until.saturating_duration_since(Instant::now()))? {
                Some(message) if !message.concerns(id) => (),
                found => return Ok(found),
            }
        }
    }

    /// What has become of a request that could not be sent.
    fn unsent(&mut self, op: &str, why: Unsent) -> Error {
        match why {
            Unsent::Lost => self.lost(op, "not_started"),
            Unsent::Malformed(what) => failure("invalid_argument", format!("cannot be sent: {what}"), "not_started"),
        }
    }

    /// Renews the connection, and says what has become of the request.
    fn lost(&mut self, op: &str, outcome: &str) -> Error {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.open() {
            if Instant::now() > until {
                return error;
            }
            sleep(RETRY);
        }
        failure("unavailable", format!("{op}: the connection broke before the answer"), outcome)
    }

    // The connection

    fn open(&mut self) -> Result<(), Error> {
        self.link = None;
        let file = fs::read_to_string(&self.path).map_err(|error| {
            Error::Connect(format!("cannot read {}: {error}; is actord running on this host?", self.path))
        })?;
        let endpoint = json_text(&file, "endpoint").or_else(|| json_text(&file, "endpoints")).ok_or_else(|| {
            Error::Connect(format!("{} is no connection file: actr keys new makes one", self.path))
        })?;
        let dialled = self.dial(&file, &endpoint);
        let link = dialled.map_err(|error| Error::Connect(format!("cannot connect to {endpoint}: {error}")))?;
        shake_hands(&link.monitor, &endpoint)?;
        self.link = Some(link);
        self.greet(&endpoint)
    }

    fn dial(&self, file: &str, endpoint: &str) -> zmq::Result<Link> {
        let socket = self.context.socket(zmq::DEALER)?;
        let monitor = self.context.socket(zmq::PAIR)?;
        socket.set_linger(0)?;
        socket.set_immediate(true)?;
        socket.set_reconnect_ivl(-1)?; // who has lost a connection must know it: what was asked is lost too
        socket.set_sndhwm(QUEUE)?;
        socket.set_rcvhwm(QUEUE)?;
        socket.set_ipv6(true)?;
        socket.set_handshake_ivl(4000)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(1)?;
        socket.set_tcp_keepalive_intvl(1)?;
        socket.set_tcp_keepalive_cnt(3)?;
        let key = |name| zmq::z85_decode(&json_text(file, name).unwrap_or_default()).map_err(|_| zmq::Error::EINVAL);
        if json_text(file, "server").is_some() {
            socket.set_curve_serverkey(&key("server")?)?;
            socket.set_curve_publickey(&key("public")?)?;
            socket.set_curve_secretkey(&key("secret")?)?;
        }
        // A name that is used again may not be free yet.
        let name = format!("inproc://actord-monitor-{}", MONITORS.fetch_add(1, Ordering::Relaxed));
        socket.monitor(&name, zmq::SocketEvent::ALL.to_raw().into())?;
        monitor.connect(&name)?;
        socket.connect(endpoint)?;
        Ok(Link { socket, monitor })
    }

    fn greet(&mut self, endpoint: &str) -> Result<(), Error> {
        let id = new_id();
        let hello = map([("t", "HELLO".into()), ("id", id[..].into())]);
        let body = map([("minor", 0.into()), ("features", Value::Array(vec![]))]);
        let answer = self.send(&hello, &body, &[]).map_err(|_| Lost).and_then(|()| self.about(&id, SHAKE_HANDS));
        match answer {
            Ok(Some(message)) if message.kind() == "WELCOME" => {
                self.welcome = message.body();
                self.opened += 1;
                Ok(())
            }
            _ => Err(Error::Connect(format!("what answers at {endpoint} is not actord"))),
        }
    }
}

/// Who follows a stream.
pub trait Follower {
    /// The body of the request, for each attempt anew.
    fn body(&self) -> Value;
    /// Gets each message; ends the stream by saying true.
    fn part(&mut self, client: &Client, message: &Message) -> bool;
}

pub fn new_id() -> [u8; 16] {
    let mut id = [0; 16];
    let source = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut id));
    source.expect("a kernel has randomness");
    id
}

fn new_trace() -> String {
    new_id().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it has the form of W3C Trace Context: version, trace, span, flags.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_digit = |one: u8| matches!(one, b'0'..=b'9' | b'a'..=b'f');
    let is_nothing = |part: &str| part.bytes().all(|one| one == b'0');
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2])
        && parts.iter().all(|part| part.bytes().all(is_digit))
        && parts[0] != "ff"
        && !is_nothing(parts[1])
        && !is_nothing(parts[2])
}

/// Adds a number to a header.
pub fn put(header: &mut Value, key: &str, number: i64) {
    if let Value::Map(pairs) = header {
        pairs.push((key.to_string(), number.into()));
    }
}

fn shake_hands(monitor: &zmq::Socket, endpoint: &str) -> Result<(), Error> {
    let until = Instant::now() + SHAKE_HANDS;
    while Instant::now() < until {
        if monitor.poll(zmq::POLLIN, 100).unwrap_or(0) == 0 {
            continue;
        }
        match u32::from(event(monitor)) {
            zmq_event::HANDSHAKE_SUCCEEDED => return Ok(()),
            zmq_event::HANDSHAKE_FAILED_PROTOCOL | zmq_event::HANDSHAKE_FAILED_AUTH => {
                let text = format!("the daemon at {endpoint} does not know this key: actr keys allow, there");
                return Err(Error::Connect(text));
            }
            other if is_over(other as u16) => break,
            _ => (),
        }
    }
    Err(Error::Connect(format!("nobody answers at {endpoint}, or it has another key")))
}

/// By the numbers of zmq.h.
mod zmq_event {
    pub const CONNECT_RETRIED: u32 = 0x0004;
    pub const CLOSED: u32 = 0x0080;
    pub const DISCONNECTED: u32 = 0x0200;
    pub const HANDSHAKE_FAILED_NO_DETAIL: u32 = 0x0800;
    pub const HANDSHAKE_SUCCEEDED: u32 = 0x1000;
    pub const HANDSHAKE_FAILED_PROTOCOL: u32 = 0x2000;
    pub const HANDSHAKE_FAILED_AUTH: u32 = 0x4000;
}

fn is_over(event: u16) -> bool {
    use zmq_event::*;
    [CONNECT_RETRIED, CLOSED, DISCONNECTED, HANDSHAKE_FAILED_NO_DETAIL].contains(&event.into())
}

/// The next event of a monitor: its number is the first two bytes of the first of two frames.
fn event(monitor: &zmq::Socket) -> u16 {
    let frames = monitor.recv_multipart(0).unwrap_or_default();
    frames.first().map_or(0, |frame| u16::from_ne_bytes([frame[0], frame[1]]))
}

/// The text behind a key of a connection file, which may stand in an array. No escapes: none are written.
fn json_text(json: &str, key: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{key}\""))?;
    let rest = rest.trim_start_matches(|one: char| one.is_whitespace() || one == ':' || one == '[');
    let (text, _) = rest.strip_prefix('"')?.split_once('"')?;
    if text.is_empty() || text.contains('\\') { None } else { Some(text.to_string()) }
}

fn failure(code: &str, text: String, outcome: &str) -> Error {
    Error::Request(Failure {
        code: code.to_string(),
        text,
        outcome: outcome.to_string(),
        retryable: code == "unavailable",
        is_final: false,
    })
}

fn result(message: &Message) -> Result<Value, Error> {
    let body = message.body();
    if message.kind() != "ERR" {
        return Ok(body);
    }
    Err(Error::Request(Failure {
        code: body.get("code").text().to_string(),
        text: body.get("msg").text().to_string(),
        outcome: body.get("outcome").text().to_string(),
        retryable: *body.get("retryable") == Value::Bool(true),
        is_final: *message.header.get("fr") != Value::Nil,
    }))
}
