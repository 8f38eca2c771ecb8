"""What systemd's journal is told in, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

One datagram is one entry. Each field goes with its length, so that it may hold anything and forge nothing.
"""

import os
import struct
from collections.abc import Mapping

_LENGTH = struct.Struct("<Q")


def datagram(fields: Mapping[str, str | bytes]) -> bytes:
    """One entry."""
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str | bytes) -> bytes:
    content = value.encode(errors="backslashreplace") if isinstance(value, str) else value
    return name.encode() + b"\n" + _LENGTH.pack(len(content)) + content + b"\n"


def is_stream(descriptor: int, told: str) -> bool:
    """Whether a descriptor leads to the journal; JOURNAL_STREAM has `told` device:inode (systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return told == f"{found.st_dev}:{found.st_ino}"
