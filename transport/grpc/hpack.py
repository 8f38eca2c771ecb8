"""Header compression of HTTP/2 (RFC 7541): what clients send is read, what we send is never compressed.

The code for strings is a canonical one, so that the lengths of its words are all there is to know (appendix
B): words of one length follow each other in the order of what they stand for.
"""

from collections import deque
from functools import lru_cache
from typing import Final

from transport.errors import ProtocolError

TABLE_BYTES: Final = 4096  # of the dynamic table, which a client may only make smaller
MOST_BYTES: Final = 16384  # of the headers of one call, each with ENTRY beside it
ENTRY: Final = 32
CACHED_BYTES: Final = 128  # longer strings are not remembered
STATIC: Final = tuple(
    (name, value)
    for line in """
:authority=|:method=GET;POST|:path=/;/index.html|:scheme=http;https|:status=200;204;206;304;400;404;500
|accept-charset=|accept-encoding=gzip, deflate|accept-language=|accept-ranges=|accept=
|access-control-allow-origin=|age=|allow=|authorization=|cache-control=|content-disposition=
|content-encoding=|content-language=|content-length=|content-location=|content-range=|content-type=|cookie=
|date=|etag=|expect=|expires=|from=|host=|if-match=|if-modified-since=|if-none-match=|if-range=
|if-unmodified-since=|last-modified=|link=|location=|max-forwards=|proxy-authenticate=|proxy-authorization=
|range=|referer=|refresh=|retry-after=|server=|set-cookie=|strict-transport-security=|transfer-encoding=
|user-agent=|vary=|via=|www-authenticate=
""".replace("\n", "").split("|")
    for name, _, values in (line.partition("="),)
    for value in values.split(";")
)
"""Appendix A, from index 1 on."""

_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
"""Bits of the word for each byte, and for the end of a string, which no string may have in it."""

_END: Final = 256
_ROOT: Final = 1
_Word = int  # bits that were read, with a 1 before them: so that leading zeros count


def _words() -> dict[_Word, int]:
    """What each word stands for."""
    found, code, before = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - before
        found[1 << length | code] = symbol
        code, before = code + 1, length
    return found


_WORDS: Final = _words()
_PADDINGS: Final = frozenset(
    (1 << length + 1) - 1 for length in range(8)
)  # the beginning of _END, at most 7 bits


@lru_cache(8192)
def _step(word: _Word, byte: int) -> tuple[bytes, _Word]:
    """What one more byte ends, and the word that it leaves unfinished. Raises ProtocolError."""
    found = bytearray()
    for shift in range(7, -1, -1):
        word = word << 1 | (byte >> shift & 1)
        symbol = _WORDS.get(word)
        if symbol == _END:
            raise ProtocolError("a string of a header has an end in it")
        if symbol is not None:
            found.append(symbol)
            word = _ROOT
    return bytes(found), word


def unpacked(data: bytes) -> str:
    """A string that was sent in that code. Raises ProtocolError."""
    found, word = [], _ROOT
    for byte in data:
        some, word = _step(word, byte)
        found.append(some)
    if word not in _PADDINGS:
        raise ProtocolError("a string of a header does not end as it should")
    return b"".join(found).decode(errors="replace")


_remembered = lru_cache(1024)(unpacked)


class Decoder:
    """Reads the headers of one connection, block after block."""

    def __init__(self) -> None:
        self._table: deque[tuple[str, str]] = deque()  # the youngest first
        self._size, self._limit = 0, TABLE_BYTES

    def decode(self, block: bytes) -> list[tuple[str, str]]:
        """Names and values. Raises ProtocolError: after that, no further block can be read."""
        reader, found, size = _Reader(block), [], 0
        while reader.at < len(block):
            first = block[reader.at]
            if 0x80 <= first < 0xFF:  # as most are: known, and nothing else in them
                reader.at += 1
                field: tuple[str, str] | None = self._known(first & 0x7F)
            else:
                field = self._field(reader)
            if field is not None:
                found.append(field)
                size += _size(field)
            if size > MOST_BYTES:
                raise ProtocolError(f"headers of more than {MOST_BYTES} bytes")
        return found

    def _field(self, reader: "_Reader") -> tuple[str, str] | None:
        first = reader.peek()
        if first & 0x80:
            return self._known(reader.number(7))
        if first & 0xE0 == 0x20:
            self._resize(reader.number(5))
            return None
        indexed = first & 0x40
        index = reader.number(6 if indexed else 4)
        name = self._known(index)[0] if index else reader.string()
        field = name, reader.string()
        if indexed:
            self._add(field)
        return field

    def _known(self, index: int) -> tuple[str, str]:
        own = index - len(STATIC) - 1
        if not index or own >= len(self._table):
            raise ProtocolError(f"header {index} is not in the table")
        return STATIC[index - 1] if own < 0 else self._table[own]

    def _add(self, field: tuple[str, str]) -> None:
        self._table.appendleft(field)
        self._size += _size(field)
        self._shrink()

    def _resize(self, limit: int) -> None:
        if limit > TABLE_BYTES:
            raise ProtocolError(f"a table of {limit} bytes for headers, with {TABLE_BYTES} allowed")
        self._limit = limit
        self._shrink()

    def _shrink(self) -> None:
        while self._size > self._limit:
            self._size -= _size(self._table.pop())


def _size(field: tuple[str, str]) -> int:
    return len(field[0]) + len(field[1]) + ENTRY


class _Reader:
    """A block, from its beginning to its end."""

    def __init__(self, block: bytes) -> None:
        self._block, self.at = block, 0

    def peek(self) -> int:
        """The byte that comes next. Raises ProtocolError: there is none."""
        if self.at >= len(self._block):
            raise ProtocolError("a block of headers ends too early")
        return self._block[self.at]

    def number(self, bits: int) -> int:
        """One of which the first byte has so many bits (section 5.1), of 4 bytes at most."""
        most = (1 << bits) - 1
        found = self.peek() & most
        self.at += 1
        if found < most:
            return found
        for shift in (0, 7, 14, 21):
            byte = self.peek()
            self.at += 1
            found += (byte & 0x7F) << shift
            if byte < 0x80:
                return found
        raise ProtocolError("a number in a header is too large")

    def string(self) -> str:
        """A string, as it is or in the code."""
        coded = self.peek() & 0x80
        length = self.number(7)
        data = self._block[self.at : self.at + length]
        self.at += length
        if len(data) < length:
            raise ProtocolError("a string of a header ends too early")
        if not coded:
            return data.decode(errors="replace")
        return _remembered(data) if length <= CACHED_BYTES else unpacked(data)


def encoded(fields: "list[tuple[bytes, bytes]]") -> bytes:
    """A block that enters nothing into any table, and looks nothing up in one."""
    return b"".join(b"\0" + _packed(name) + _packed(value) for name, value in fields)


def _packed(data: bytes) -> bytes:
    """A string as it is (section 5.2)."""
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, length = bytearray([127]), len(data) - 127
    while length >= 128:
        rest.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(rest) + bytes([length]) + data
