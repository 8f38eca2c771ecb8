"""One 512-byte tar header block: fields, numbers, checksum.

Pure functions on bytes. The standard library's tarfile is not used: its extraction filter could be made to
write outside the target, and crafted headers kept it busy for ever. Formats read: v7, ustar, GNU, star.
Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

import enum
import struct
import zlib
from dataclasses import dataclass, field

from storage.errors import InvalidArgumentError

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s64s8s8s155s12s")
_HALF = BLOCK // 2
_CHECKSUM = slice(148, 156)
_CHECKSUM_BLANK = 8 * ord(" ")
_MAX_ID = 4294967294  # 2^32 - 1 is "no id" to the kernel
_MAX_MAJOR = 0xFFF  # the kernel's 32-bit device number holds 12 and 20 bits
_MAX_MINOR = 0xFFFFF


class Kind(enum.Enum):
    """What an entry is, once extension headers are dealt with."""

    REGULAR = "regular file"
    HARDLINK = "hard link"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"


KINDS = {
    b"\0": Kind.REGULAR,
    b"0": Kind.REGULAR,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
    b"7": Kind.REGULAR,  # contiguous file, to be read as a regular one (POSIX)
    b"S": Kind.REGULAR,  # old GNU sparse
}


@dataclass(slots=True)
class Entry:
    """One file of a layer, as its headers describe it.

    Names are bytes as they stand in the archive, not yet confined to a root. `size` is that of the file;
    what the archive stores of it is `stored` bytes. `sparse` lists (offset, length) of the stored parts.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int] = (0, 0)
    stored: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None


def number(raw: bytes, what: str) -> int:
    """A numeric field: octal text, or base-256 when the top bit of the first byte is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big")
        bits = 8 * len(raw)
        return value - (1 << bits) if raw[0] & 0x40 else value & ~(1 << (bits - 1))
    text = raw[:-1]  # nearly always all digits, and then a space or NUL
    if raw[-1] not in b" \0" or not text.isdigit():
        text = raw.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    try:
        if text.isdigit():
            return int(text, 8)
    except ValueError:
        pass
    raise InvalidArgumentError(f"layer tar: {what} {text!r} is not an octal number")


def text(raw: bytes) -> bytes:
    """A string field: up to its first NUL."""
    return raw.partition(b"\0")[0]


def _sum(half: bytes) -> int:
    """The sum of 256 bytes: Adler-32 has it in its lower half, one more, and less than its modulus, 65521."""
    return (zlib.adler32(half) & 0xFFFF) - 1


def verify_checksum(block: bytes) -> None:
    """Refuse a block whose checksum field matches neither the unsigned nor the signed sum."""
    stored = number(block[_CHECKSUM], "checksum")
    unsigned = _sum(block[:_HALF]) + _sum(block[_HALF:]) - sum(block[_CHECKSUM]) + _CHECKSUM_BLANK
    if stored == unsigned:
        return
    high = sum(byte > 0x7F for byte in block[:148] + block[156:])
    if stored != unsigned - 256 * high:
        raise InvalidArgumentError("layer tar: header checksum is wrong, the layer is damaged or no tar")


def parse(block: bytes) -> tuple[bytes, Entry]:
    """Type flag and entry of a header block whose checksum is right.

    Raises:
        InvalidArgumentError: The checksum or a number is wrong, or the type is unknown.
    """
    verify_checksum(block)
    name, mode, uid, gid, size, mtime, _, flag, link, magic, _, major, minor, prefix, tail = FIELDS.unpack(
        block
    )
    name = text(name)
    if magic[:6] == b"ustar\0" and prefix[0]:
        star = tail[8:] == b"tar\0"
        name = text(prefix[:131] if star else prefix) + b"/" + name
    entry = Entry(
        name=name,
        kind=KINDS.get(flag, Kind.REGULAR),
        mode=number(mode, "mode") & 0o7777,
        uid=number(uid, "uid"),
        gid=number(gid, "gid"),
        size=number(size, "size"),
        mtime_ns=number(mtime, "mtime") * 1_000_000_000,
        link=text(link),
    )
    if flag in b"34":
        entry.device = (number(major, "device major"), number(minor, "device minor"))
    return flag, entry


def check_ranges(entry: Entry, path_bytes: int) -> None:
    """Refuse what no file can have.

    Raises:
        InvalidArgumentError: A name, id, size, time or device number is out of range.
    """
    major, minor = entry.device
    if entry.size < 0:
        problem = f"size {entry.size} is negative"
    elif not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        problem = f"owner {entry.uid}:{entry.gid} is outside 0..{_MAX_ID}"
    elif not (0 <= major <= _MAX_MAJOR and 0 <= minor <= _MAX_MINOR):
        problem = f"device number {major}:{minor} does not fit the kernel's 32 bits"
    elif len(entry.name) > path_bytes or len(entry.link) > path_bytes:
        problem = f"name or link target is longer than {path_bytes} bytes"
    elif b"\0" in entry.name or b"\0" in entry.link:
        problem = "name or link target holds a NUL byte"
    elif any(b"\0" in name for name in entry.xattrs):
        problem = "the name of an extended attribute holds a NUL byte"
    elif not -(1 << 63) <= entry.mtime_ns // 1_000_000_000 < 1 << 63:
        problem = "mtime does not fit 64 bits"
    else:
        return
    raise InvalidArgumentError(f"layer entry {shown(entry.name)}: {problem}")


def shown(name: bytes) -> str:
    """A name for an error message: one line, printable, of bounded length."""
    quoted = ascii(name.decode("utf-8", "surrogateescape"))
    return quoted if len(quoted) <= 200 else quoted[:197] + "..."
