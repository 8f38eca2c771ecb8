"""PAX extended headers: records of the form `length key=value`, read in one forward pass.

Each byte is looked at a bounded number of times, whatever the records say. Source: POSIX.1-2017 pax, "pax
Extended Header"; SCHILY.xattr from star, GNU.sparse from the GNU tar manual. A record's key ends at its first
equals sign, so GNU tar writes that of an attribute's name as %3D, and a per cent sign as %25.
"""

import re
from collections.abc import Iterator

from storage.errors import InvalidArgumentError
from storage.layer.header import Entry

XATTR = b"SCHILY.xattr."
_NANOSECOND_DIGITS = 9
_MAX_DIGITS = 20  # of any decimal number here: 2^64 has no more
_SPARSE = b"GNU.sparse."
_ESCAPED = re.compile(rb"%(?:25|3D)")


def records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in order.

    Raises:
        InvalidArgumentError: A record's length does not match its text.
    """
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + _MAX_DIGITS)
        length = decimal(data[position:space], "record length") if space >= 0 else 0
        end = position + length
        equals = data.find(b"=", space, end)
        if space < 0 or equals <= space + 1 or end > len(data) or data[end - 1] != ord("\n"):
            raise InvalidArgumentError("layer tar: malformed pax record")
        yield data[space + 1 : equals], data[equals + 1 : end - 1]
        position = end


def xattr_key(name: bytes) -> bytes:
    """The key of the record for an extended attribute."""
    return XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D")


def _xattr_name(key: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: b"%" if found[0] == b"%25" else b"=", key.removeprefix(XATTR))


def decimal(text: bytes, what: str) -> int:
    """An unsigned decimal number of bounded length, nothing else."""
    if not text.isdigit() or len(text) > _MAX_DIGITS:
        raise InvalidArgumentError(f"layer tar: {what} {text[:40]!r} is not a number")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """`[-]seconds[.fraction]` as whole nanoseconds; digits beyond the ninth are dropped."""
    seconds, _, fraction = text.partition(b".")
    sign = -1 if seconds.startswith(b"-") else 1
    whole = decimal(seconds.lstrip(b"-") or b"0", "mtime") * 1_000_000_000
    digits = fraction[:_NANOSECOND_DIGITS].ljust(_NANOSECOND_DIGITS, b"0")
    return sign * (whole + decimal(digits, "mtime"))


class Extension:
    """What one PAX header says about the entry that follows it."""

    def __init__(self, data: bytes) -> None:
        self.values: dict[bytes, bytes] = {}
        self.xattrs: dict[bytes, bytes] = {}
        self.sparse: dict[bytes, bytes] = {}
        self.segments: list[bytes] = []  # sparse 0.0 repeats its keys, so their order counts
        for key, value in records(data):
            self._take(key, value)

    def _take(self, key: bytes, value: bytes) -> None:
        if key.startswith(XATTR):
            self.xattrs[_xattr_name(key)] = value
        elif key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            self._take_segment(key, value)
        elif key.startswith(_SPARSE):
            self.sparse[key.removeprefix(_SPARSE)] = value
        elif value:
            self.values[key] = value
        else:
            self.values.pop(key, None)  # an empty value takes an earlier one back

    def _take_segment(self, key: bytes, value: bytes) -> None:
        expected = b"GNU.sparse.numbytes" if len(self.segments) % 2 else b"GNU.sparse.offset"
        if key != expected:
            raise InvalidArgumentError("layer tar: sparse offsets and lengths do not alternate")
        self.segments.append(value)

    def amend(self, entry: Entry) -> None:
        """Put the header's values into `entry`; those that concern sparse files are left to sparse.py."""
        values = self.values
        entry.name = values.get(b"path", entry.name)
        entry.link = values.get(b"linkpath", entry.link)
        if b"size" in values:
            entry.size = decimal(values[b"size"], "size")
        if b"uid" in values:
            entry.uid = decimal(values[b"uid"], "uid")
        if b"gid" in values:
            entry.gid = decimal(values[b"gid"], "gid")
        if b"mtime" in values:
            entry.mtime_ns = nanoseconds(values[b"mtime"])
        entry.xattrs = self.xattrs
