"""Entries as tar headers: ustar where it can say everything, with a PAX header before it where it cannot.

The bytes depend on nothing but the entry, so that the same tree always is the same layer.
Source: POSIX.1-2017 pax.
"""

from storage.layer.header import BLOCK, FIELDS, Entry, Kind
from storage.layer.pax import xattr_key

END = bytes(2 * BLOCK)

_FLAGS = {
    Kind.REGULAR: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_SHORT_NUMBER = 0o7777777
_LONG_NUMBER = 0o77777777777
_SHORT_NAME = 100
_SECOND = 1_000_000_000


def padding(size: int) -> bytes:
    """What fills up the last block of `size` bytes."""
    return bytes(-size % BLOCK)


def headers(entry: Entry) -> bytes:
    """All header blocks of an entry; its body, if it has one, follows them."""
    records = _records(entry)
    if not records:
        return _block(entry, _FLAGS[entry.kind])
    text = b"".join(_record(key, records[key]) for key in sorted(records))
    extension = Entry(b"PaxHeaders", Kind.REGULAR, 0o644, 0, 0, len(text), 0, b"")
    return _block(extension, b"x") + text + padding(len(text)) + _block(entry, _FLAGS[entry.kind])


def _records(entry: Entry) -> dict[bytes, bytes]:
    """What a ustar header cannot hold."""
    records = {xattr_key(name): value for name, value in entry.xattrs.items()}
    if len(entry.name) > _SHORT_NAME or not entry.name.isascii():
        records[b"path"] = entry.name
    if len(entry.link) > _SHORT_NAME or not entry.link.isascii():
        records[b"linkpath"] = entry.link
    if entry.size > _LONG_NUMBER:
        records[b"size"] = b"%d" % entry.size
    if entry.uid > _SHORT_NUMBER:
        records[b"uid"] = b"%d" % entry.uid
    if entry.gid > _SHORT_NUMBER:
        records[b"gid"] = b"%d" % entry.gid
    seconds, rest = divmod(abs(entry.mtime_ns), _SECOND)
    if rest or entry.mtime_ns < 0 or seconds > _LONG_NUMBER:
        sign = b"-" if entry.mtime_ns < 0 else b""
        records[b"mtime"] = (b"%s%d.%09d" % (sign, seconds, rest)).rstrip(b"0").rstrip(b".")
    return records


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value`, the length counting its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(entry: Entry, flag: bytes) -> bytes:
    def octal(value: int, most: int, width: int) -> bytes:
        return b"%0*o" % (width, value if 0 <= value <= most else 0)

    major, minor = entry.device if entry.kind in (Kind.CHARACTER, Kind.BLOCK) else (0, 0)
    fields = [
        entry.name[:_SHORT_NAME],
        octal(entry.mode, _SHORT_NUMBER, 7),
        octal(entry.uid, _SHORT_NUMBER, 7),
        octal(entry.gid, _SHORT_NUMBER, 7),
        octal(entry.size if entry.kind is Kind.REGULAR else 0, _LONG_NUMBER, 11),
        octal(entry.mtime_ns // _SECOND, _LONG_NUMBER, 11),
        b" " * 8,
        flag,
        entry.link[:_SHORT_NAME],
        b"ustar\x0000",
        b"",
        octal(major, _SHORT_NUMBER, 7),
        octal(minor, _SHORT_NUMBER, 7),
        b"",
        b"",
    ]
    checksum = sum(FIELDS.pack(*fields))
    fields[6] = b"%06o\0 " % checksum
    return FIELDS.pack(*fields)
