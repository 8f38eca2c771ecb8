//! msgpack, as docs/protocol.md has it under "Values": no extensions, bounded depth, text that is UTF-8.

const MAX_DEPTH: usize = 64;
const MAX_BODY: usize = 16 << 20;

/// One value. What does not fit into i64 is a `Large`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Large(u64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(String, Value)>),
}

static NIL: Value = Value::Nil;

/// A map from pairs.
pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
}

impl Value {
    /// The value of a key; nil for none, and when this is no map.
    pub fn get(&self, key: &str) -> &Value {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map_or(&NIL, |(_, value)| value),
            _ => &NIL,
        }
    }

    /// The text, or an empty one.
    pub fn text(&self) -> &str {
        if let Value::Text(text) = self { text } else { "" }
    }

    pub fn int(&self) -> Option<i64> {
        if let Value::Int(number) = self { Some(*number) } else { None }
    }

    /// The elements, none if this is no array.
    pub fn array(&self) -> &[Value] {
        if let Value::Array(elements) = self { elements } else { &[] }
    }

    pub fn pack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, self);
        out
    }

    /// Exactly one value; `Err` says what is wrong.
    pub fn unpack(bytes: &[u8]) -> Result<Value, &'static str> {
        if bytes.len() > MAX_BODY {
            return Err("a value that is too large");
        }
        let mut rest = bytes;
        let value = read(&mut rest, MAX_DEPTH)?;
        if rest.is_empty() { Ok(value) } else { Err("bytes behind a value") }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_string())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(bytes.to_vec())
    }
}

impl From<&[&str]> for Value {
    fn from(texts: &[&str]) -> Self {
        Value::Array(texts.iter().map(|&text| text.into()).collect())
    }
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => out.push(0xc0),
        Value::Bool(truth) => out.push(0xc2 + u8::from(*truth)),
        Value::Int(number) => integer(out, *number),
        Value::Large(number) => tagged(out, 0xcf, &number.to_be_bytes()),
        Value::Real(number) => tagged(out, 0xcb, &number.to_be_bytes()),
        Value::Text(text) if text.len() < 32 => tagged(out, 0xa0 | text.len() as u8, text.as_bytes()),
        Value::Text(text) => sized(out, 0xd9, text.as_bytes()),
        Value::Bytes(bytes) => sized(out, 0xc4, bytes),
        Value::Array(elements) => {
            head(out, 0x90, 0xdc, elements.len());
            elements.iter().for_each(|one| write(out, one));
        }
        Value::Map(pairs) => {
            head(out, 0x80, 0xde, pairs.len());
            for (key, inner) in pairs {
                write(out, &Value::Text(key.clone()));
                write(out, inner);
            }
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn integer(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    match number {
        -32..=127 => out.push(number as u8),
        0..=0xff => tagged(out, 0xcc, &bytes[7..]),
        0..=0xffff => tagged(out, 0xcd, &bytes[6..]),
        0..=0xffff_ffff => tagged(out, 0xce, &bytes[4..]),
        0.. => tagged(out, 0xcf, &bytes),
        -0x80.. => tagged(out, 0xd0, &bytes[7..]),
        -0x8000.. => tagged(out, 0xd1, &bytes[6..]),
        -0x8000_0000.. => tagged(out, 0xd2, &bytes[4..]),
        _ => tagged(out, 0xd3, &bytes),
    }
}

fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let size = (bytes.len() as u32).to_be_bytes();
    match bytes.len() {
        0..=0xff => tagged(out, tag, &size[3..]),
        0x100..=0xffff => tagged(out, tag + 1, &size[2..]),
        _ => tagged(out, tag + 2, &size),
    }
    out.extend_from_slice(bytes);
}

fn head(out: &mut Vec<u8>, small: u8, large: u8, length: usize) {
    let size = (length as u32).to_be_bytes();
    match length {
        0..=15 => out.push(small | length as u8),
        16..=0xffff => tagged(out, large, &size[2..]),
        _ => tagged(out, large + 1, &size),
    }
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Result<&'a [u8], &'static str> {
    if rest.len() < size {
        return Err("a value that is cut short");
    }
    let (taken, behind) = rest.split_at(size);
    *rest = behind;
    Ok(taken)
}

fn unsigned(rest: &mut &[u8], width: usize) -> Result<u64, &'static str> {
    Ok(take(rest, width)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn signed(rest: &mut &[u8], width: usize) -> Result<Value, &'static str> {
    let unused = 64 - 8 * width;
    Ok(Value::Int((unsigned(rest, width)? << unused) as i64 >> unused))
}

fn read(rest: &mut &[u8], depth: usize) -> Result<Value, &'static str> {
    let tag = take(rest, 1)?[0];
    match tag {
        0x00..=0x7f => Ok(Value::Int(tag.into())),
        0x80..=0x8f => pairs(rest, (tag & 15).into(), depth),
        0x90..=0x9f => elements(rest, (tag & 15).into(), depth),
        0xa0..=0xbf => text(rest, (tag & 31).into()),
        0xc0 => Ok(Value::Nil),
        0xc2 | 0xc3 => Ok(Value::Bool(tag == 0xc3)),
        0xc4..=0xc6 => {
            let size = unsigned(rest, 1 << (tag - 0xc4))? as usize;
            Ok(Value::Bytes(take(rest, size)?.to_vec()))
        }
        0xca => Ok(Value::Real(f32::from_bits(unsigned(rest, 4)? as u32).into())),
        0xcb => Ok(Value::Real(f64::from_bits(unsigned(rest, 8)?))),
        0xcc..=0xcf => {
            let number = unsigned(rest, 1 << (tag - 0xcc))?;
            Ok(i64::try_from(number).map_or(Value::Large(number), Value::Int))
        }
        0xd0..=0xd3 => signed(rest, 1 << (tag - 0xd0)),
        0xd9..=0xdb => {
            let size = unsigned(rest, 1 << (tag - 0xd9))? as usize;
            text(rest, size)
        }
        0xdc | 0xdd => {
            let size = unsigned(rest, 2 << (tag - 0xdc))? as usize;
            elements(rest, size, depth)
        }
        0xde | 0xdf => {
            let size = unsigned(rest, 2 << (tag - 0xde))? as usize;
            pairs(rest, size, depth)
        }
        0xe0..=0xff => Ok(Value::Int((tag as i8).into())),
        _ => Err("an extension type"),
    }
}

fn text(rest: &mut &[u8], size: usize) -> Result<Value, &'static str> {
    let bytes = take(rest, size)?.to_vec();
    String::from_utf8(bytes).map(Value::Text).map_err(|_| "text that is not UTF-8")
}

/// Each element has at least a byte: a promise of more is refused before room is made for it.
fn check(rest: &[u8], size: usize, depth: usize) -> Result<(), &'static str> {
    match () {
        () if depth == 0 => Err("nested too deep"),
        () if size > rest.len() => Err("a value that is cut short"),
        () => Ok(()),
    }
}

fn elements(rest: &mut &[u8], size: usize, depth: usize) -> Result<Value, &'static str> {
    check(rest, size, depth)?;
    (0..size).map(|_| read(rest, depth - 1)).collect::<Result<_, _>>().map(Value::Array)
}

fn pairs(rest: &mut &[u8], size: usize, depth: usize) -> Result<Value, &'static str> {
    check(rest, size, depth)?;
    let mut found = Vec::new();
    for _ in 0..size {
        match read(rest, 0)? {
            Value::Text(key) => found.push((key, read(rest, depth - 1)?)),
            _ => return Err("a map with a key that is no string"),
        }
    }
    Ok(Value::Map(found))
}
