"""A reader of bbolt's files, in which containerd keeps its metadata: one B+ tree of keys, values and buckets.

The layout is that of bbolt's page.go and bucket.go, version 2, in the byte order of the machine that wrote it
(little-endian is understood). Only what a committed transaction has left is read; what a file says of its own
structure is checked before it is followed.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from storage.errors import InvalidArgumentError

_MAGIC: Final = 0xED0CDAED
_VERSION: Final = 2
_PAGE: Final = struct.Struct("<QHHI")  # id, flags, count, overflow
_META: Final = struct.Struct("<IIIIQQQQQQ")  # magic, version, page size, flags, root, sequence, ..., checksum
_BRANCH: Final = struct.Struct("<IIQ")  # position of the key, its size, page
_LEAF: Final = struct.Struct("<IIII")  # flags, position of the key, its size, size of the value
_BUCKET: Final = struct.Struct("<QQ")  # root page, or 0 for a page that follows here; sequence
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 1, 2, 1
_PAGE_SIZES: Final = tuple(1 << power for power in range(9, 17))
_DEEPEST: Final = 32  # levels of pages; with two keys a page that is more than any disk holds
_READS: Final = 8  # times that a page may be read on the average: a tree that bites its tail has an end
_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Bucket:
    """Keys with values, and buckets within. `page` is where its tree begins, `inline` the page itself."""

    file: "Bolt"
    page: int
    inline: bytes | None = None

    def items(self) -> Iterator[tuple[bytes, "bytes | Bucket"]]:
        """All keys in their order. Raises InvalidArgumentError."""
        root = self.file.page(self.page) if self.inline is None else self.inline
        yield from self.file.walk(root, 0)

    def bucket(self, *names: bytes) -> "Bucket | None":
        """The bucket within that is reached by these names. Raises InvalidArgumentError."""
        found: bytes | Bucket | None = self
        for name in names:
            if not isinstance(found, Bucket):
                return None
            found = next((value for key, value in found.items() if key == name), None)
        return found if isinstance(found, Bucket) else None

    def values(self) -> dict[bytes, bytes]:
        """Its keys without the buckets. Raises InvalidArgumentError."""
        return {key: value for key, value in self.items() if isinstance(value, bytes)}


class Bolt:
    """A whole file, which may be mapped into memory: no more of it is read than is asked for."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        """Raises InvalidArgumentError: it is none, or of another version."""
        self._content = content
        metas = [found for size in (0, *_PAGE_SIZES) if (found := self._meta(size)) is not None]
        if not metas:
            raise InvalidArgumentError("database: no file of bbolt, or of another version than 2")
        _, self._size, root = max(metas)  # the newest transaction
        self._reads = _READS * (len(content) // self._size + 1)
        self.root = Bucket(self, root)

    def _meta(self, offset: int) -> tuple[int, int, int] | None:
        """Transaction, page size and root page that the meta page at `offset` states, if there is one."""
        start = offset + _PAGE.size
        raw = self._content[start : start + _META.size]
        if len(raw) < _META.size:
            return None
        magic, version, size, _, root, _, _, _, transaction, checksum = _META.unpack(raw)
        good = (magic, version) == (_MAGIC, _VERSION) and size in _PAGE_SIZES and offset in (0, size)
        return (transaction, size, root) if good and checksum == fnv(raw[:-8]) else None

    def page(self, number: int) -> bytes:
        """A page with those that continue it. Raises InvalidArgumentError."""
        self._reads -= 1
        if self._reads < 0:
            raise InvalidArgumentError("database: its pages go round in circles")
        start = number * self._size
        head = self._content[start : start + _PAGE.size]
        if len(head) < _PAGE.size:
            raise InvalidArgumentError(f"database: page {number} lies beyond the end of the file")
        identity, _, _, overflow = _PAGE.unpack(head)
        if identity != number:
            raise InvalidArgumentError(f"database: page {number} says that it is {identity}")
        return self._content[start : start + (overflow + 1) * self._size]

    def walk(self, page: bytes, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """What a page and those below it hold. Raises InvalidArgumentError."""
        if depth > _DEEPEST:
            raise InvalidArgumentError(f"database: more than {_DEEPEST} levels of pages")
        try:
            _, flags, count, _ = _PAGE.unpack_from(page)
            if flags & _IS_BRANCH:
                for index in range(count):
                    below = _BRANCH.unpack_from(page, _PAGE.size + index * _BRANCH.size)[2]
                    yield from self.walk(self.page(below), depth + 1)
            elif flags & _IS_LEAF:
                for index in range(count):
                    yield self._entry(page, _PAGE.size + index * _LEAF.size)
            else:
                raise InvalidArgumentError(f"database: a page of kind {flags:#x} where keys should be")
        except struct.error as error:
            raise InvalidArgumentError("database: a page is shorter than it says") from error

    def _entry(self, page: bytes, offset: int) -> tuple[bytes, bytes | Bucket]:
        flags, position, key_size, size = _LEAF.unpack_from(page, offset)
        start = offset + position
        key, value = page[start : start + key_size], page[start + key_size : start + key_size + size]
        if len(key) != key_size or len(value) != size:
            raise InvalidArgumentError("database: a key or value reaches beyond its page")
        if not flags & _IS_BUCKET:
            return key, value
        root, _ = _BUCKET.unpack_from(value)  # struct.error: too short even for that
        return key, Bucket(self, root, None if root else value[_BUCKET.size :])


def fnv(content: bytes) -> int:
    """FNV-1a of 64 bits (draft-eastlake-fnv)."""
    found = _FNV_OFFSET
    for byte in content:
        found = (found ^ byte) * _FNV_PRIME & _64_BITS
    return found
