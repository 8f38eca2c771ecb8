"""Bounds on what may be stored: identifiers, labels, texts and JSON sent by peers.

The identifier and label rules are containerd's (identifiers of at most 76 characters, a label's key and
value together at most 4096 bytes), so that whatever is stored can be served through its API.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from storage.errors import InvalidArgumentError

_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_IDENTIFIER_LENGTH = 76
_TEXT_LENGTH = 4096
_LABEL_BYTES = 4096
_LABEL_COUNT = 1024
_JSON_BYTES = 4 << 20


def check_identifier(kind: str, value: str) -> None:
    """Refuse anything but an identifier; `kind` names it in the error.

    Raises:
        InvalidArgumentError: empty, longer than 76 characters, or other than alphanumerics joined by `._-`.
    """
    if len(value) > _IDENTIFIER_LENGTH:
        raise InvalidArgumentError(
            f"{kind} {value[:40]!a}... is too long: use at most {_IDENTIFIER_LENGTH} characters"
        )
    if not _IDENTIFIER.fullmatch(value):
        raise InvalidArgumentError(
            f'{kind} {value!a} is not valid: use letters and digits, joined by single ".", "_" or "-"'
        )


def check_text(kind: str, value: str, *, limit: int = 1024, empty: bool = False) -> None:
    """Refuse text that is over `limit` characters, has unprintable characters, or is empty unless allowed."""
    if not value and not empty:
        raise InvalidArgumentError(f"{kind} is empty")
    if len(value) > limit:
        raise InvalidArgumentError(f"{kind} {value[:40]!a}... is too long: use at most {limit} characters")
    if not value.isprintable():
        raise InvalidArgumentError(f"{kind} {value[:80]!a} has unprintable characters")


def encode_labels(labels: Mapping[str, str], *, most: int = _LABEL_COUNT) -> str:
    """At most `most` labels as JSON with sorted keys.

    Raises:
        InvalidArgumentError: too many of them, an empty key, or one over 4096 bytes with its value.
    """
    if len(labels) > most:
        raise InvalidArgumentError(f"{len(labels)} labels are too many: use at most {most}")
    for key, value in labels.items():
        _check_label(key, value)
    return encode(dict(labels))


def _check_label(key: str, value: str) -> None:
    if not key:
        raise InvalidArgumentError("a label has an empty key")
    try:
        size = len(key.encode()) + len(value.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"label {key[:80]!a} is not valid unicode text") from None
    if size > _LABEL_BYTES:
        raise InvalidArgumentError(
            f"label {key[:80]!a} has {size} bytes in key and value: use at most {_LABEL_BYTES}"
        )


def encode(value: Any) -> str:
    """A value as compact JSON with sorted keys.

    Raises:
        InvalidArgumentError: not representable in JSON, or over 4 MiB.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"a value cannot be stored as json: {error}") from error
    if len(text) > _JSON_BYTES:
        raise InvalidArgumentError(f"a value of {len(text)} bytes is too large: use at most {_JSON_BYTES}")
    return text


def decode(text: str | bytes) -> Any:
    """The value of what `encode` has made, several times as fast as the standard library."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # half a surrogate pair, say, as `encode` writes it
        return json.loads(text)


def storable(text: str) -> str:
    """Free text, such as an error of the runtime, cut and cleaned so that it can be stored."""
    return text[:_TEXT_LENGTH].encode("utf-8", "replace").decode().replace("\0", "?")
