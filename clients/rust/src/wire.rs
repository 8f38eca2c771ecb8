//! Messages to frames and back, as docs/protocol.md has them under "Frames".

use crate::value::Value;

const SIGNATURE: &[u8] = b"ACTD1";
const MAX_MESSAGE: usize = 64 << 20;
const MAX_BUFFERS: usize = 16;
const MAX_NAME: usize = 256;
const TYPES: [&str; 14] = [
    "HELLO", "WELCOME", "REQ", "NOTE", "PART", "FIN", "ERR", "CANCEL", "CREDIT", "SUB", "EVT", "PING", "PONG", "BYE",
];
const TEXTS: [&str; 6] = ["t", "to", "fr", "m", "ik", "tr"];
const BYTES: [&str; 2] = ["id", "re"];
const NUMBERS: [&str; 5] = ["inc", "dl", "sq", "nr", "cr"];

/// One message; its body is still as it came.
#[derive(Debug)]
pub struct Message {
    pub header: Value,
    pub packed: Vec<u8>,
    pub buffers: Vec<Vec<u8>>,
}

impl Message {
    /// `FIN`, `PART` and so on.
    pub fn kind(&self) -> &str {
        self.header.get("t").text()
    }

    pub fn concerns(&self, id: &[u8]) -> bool {
        matches!(self.header.get("re"), Value::Bytes(re) if re == id)
    }

    /// The body; nil for one that is none.
    pub fn body(&self) -> Value {
        Value::unpack(&self.packed).unwrap_or(Value::Nil)
    }

    /// The bytes beside the body.
    pub fn bytes(&self) -> Vec<u8> {
        self.buffers.concat()
    }
}

/// The frames of a message; `Err` for what a router would refuse as malformed: it could not say whose message that was.
pub fn encode(header: &Value, body: &Value, buffers: &[&[u8]]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut frames = vec![SIGNATURE.to_vec(), header.pack(), body.pack()];
    frames.extend(buffers.iter().map(|buffer| buffer.to_vec()));
    read_header(&frames)?;
    Ok(frames)
}

/// Reads a message; `Err` says what is wrong.
pub fn decode(mut frames: Vec<Vec<u8>>) -> Result<Message, &'static str> {
    if frames.first().map_or(false, Vec::is_empty) {
        frames.remove(0);
    }
    let header = read_header(&frames)?;
    let buffers = frames.split_off(frames.len().min(3));
    let packed = frames.into_iter().nth(2).unwrap_or_else(|| vec![0x80]);
    Ok(Message { header, packed, buffers })
}

/// The header of a message whose frames are bounded.
fn read_header(frames: &[Vec<u8>]) -> Result<Value, &'static str> {
    if frames.len() < 2 || frames[0] != SIGNATURE {
        return Err("not a message of actord");
    }
    if frames.len() > 3 + MAX_BUFFERS || frames.iter().map(Vec::len).sum::<usize>() > MAX_MESSAGE {
        return Err("too many buffers or bytes");
    }
    let header = match Value::unpack(&frames[1])? {
        Value::Map(pairs) => Value::Map(pairs.into_iter().filter(|(key, _)| is_known(key)).collect()),
        _ => return Err("the header is not a map"),
    };
    check(&header)?;
    Ok(header)
}

fn is_known(key: &str) -> bool {
    TEXTS.contains(&key) || BYTES.contains(&key) || NUMBERS.contains(&key)
}

fn check(header: &Value) -> Result<(), &'static str> {
    if let Value::Map(pairs) = header {
        for (key, value) in pairs {
            let fine = match value {
                Value::Text(text) => TEXTS.contains(&key.as_str()) && text.chars().count() <= MAX_NAME,
                Value::Bytes(bytes) => BYTES.contains(&key.as_str()) && bytes.len() <= MAX_NAME,
                Value::Int(number) => NUMBERS.contains(&key.as_str()) && *number >= 0,
                Value::Large(_) => NUMBERS.contains(&key.as_str()),
                _ => false,
            };
            if !fine {
                return Err("a key of the header has the wrong type, or is out of bounds");
            }
        }
    }
    if TYPES.contains(&header.get("t").text()) { Ok(()) } else { Err("a message of no known type") }
}
