"""Writes bbolt's files, page by page, for the reader in storage/archive/bolt.py: to fuzz and to test."""

from __future__ import annotations

import struct
from typing import Final

from storage.archive.bolt import fnv
from storage.descriptor import Descriptor
from storage.digest import Digest

PAGE: Final = 4096
_BRANCH, _LEAF, _META = 1, 2, 4
TARGET = Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(b"a manifest"), 300)
VARINT_300 = b"\xd8\x04"


def leaf(entries: dict[bytes, object], identity: int = 0) -> bytes:
    """A page of keys with values (bytes), inline buckets (dict) or buckets with a page of their own (int)."""
    heads, body = b"", b""
    for index, (key, value) in enumerate(sorted(entries.items())):
        flags = 0 if isinstance(value, bytes) else 1
        if isinstance(value, dict):
            raw = struct.pack("<QQ", 0, 0) + leaf(value)
        else:
            raw = value if isinstance(value, bytes) else struct.pack("<QQ", value, 0)
        position = (len(entries) - index) * 16 + len(body)
        heads += struct.pack("<IIII", flags, position, len(key), len(raw))
        body += key + raw
    return struct.pack("<QHHI", identity, _LEAF, len(entries), 0) + heads + body


def branch(identity: int, *below: int) -> bytes:
    """A page that leads to others."""
    heads = b"".join(struct.pack("<IIQ", 0, 0, page) for page in below)
    return struct.pack("<QHHI", identity, _BRANCH, len(below), 0) + heads


def meta(identity: int, root: int, transaction: int, *, version: int = 2) -> bytes:
    """A page that says where a transaction's tree begins."""
    raw = struct.pack("<IIIIQQQQQ", 0xED0CDAED, version, PAGE, 0, root, 0, 9, 9, transaction)
    return struct.pack("<QHHI", identity, _META, 0, 0) + raw + struct.pack("<Q", fnv(raw))


def file(*pages: bytes, root: int = 2) -> bytes:
    """A whole file; the first of `pages` is the third of it."""
    return b"".join(page.ljust(PAGE, b"\0") for page in (meta(0, root, 6), meta(1, 99, 5), *pages))


def image(labels: dict[bytes, bytes]) -> dict[bytes, object]:
    """What containerd has on record of an image."""
    target = {b"digest": str(TARGET.digest).encode(), b"mediatype": TARGET.media_type.encode()}
    return {b"labels": labels, b"target": {**target, b"size": VARINT_300}}


NAMESPACE: Final = {b"images": {b"docker.io/library/a:1": image({b"k": b"v"})}, b"labels": {}}
ROOT: Final = leaf({b"v1": {b"default": NAMESPACE, b"empty": {b"labels": {}}, b"version": b"\x06"}}, 2)
