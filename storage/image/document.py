"""JSON that came from outside: bounded, unambiguous, and read field by field with the type expected.

Python's parser keeps the last of two equal names in silence and takes NaN, byte-order marks and other
encodings; two readers of one document must never see two images (CVE-2021-41190), so all of that is refused.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar

from storage.errors import InvalidArgumentError

# Registries refuse larger manifests as well (OCI distribution-spec, "Pushing Manifests").
MAX_DOCUMENT_SIZE: Final = 4 * 1024 * 1024

# Deeper than any document of an image; far from the interpreter's own limit.
MAX_DEPTH: Final = 64

# A value costs some 60 bytes of memory and may be written in two: this is what bounds the memory.
MAX_VALUES: Final = 200_000

T = TypeVar("T")


def parse_document(content: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object; `what` names it in errors.

    Raises:
        InvalidArgumentError: It is too large, too deep, not UTF-8, not JSON, has a name twice in one
            object, or is not an object.
    """
    return dict(require_object(_parse(content, what), what))


def parse_list(content: bytes, what: str) -> list[Any]:
    """Read a JSON list, with the same bounds.

    Raises:
        InvalidArgumentError: As `parse_document`, or it is no list.
    """
    value = _parse(content, what)
    if not isinstance(value, list):
        raise InvalidArgumentError(f"{what} is not a list")
    return value


def _parse(content: bytes, what: str) -> object:
    _check_bounds(content, what)
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique_names, parse_constant=_refuse_constant
        )
        _check_values(value)
    except RecursionError:
        raise InvalidArgumentError(f"{what} is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise InvalidArgumentError(f"{what} is not valid json: {error}") from error
    return value


def _check_bounds(content: bytes, what: str) -> None:
    if len(content) > MAX_DOCUMENT_SIZE:
        raise InvalidArgumentError(f"{what} is larger than {MAX_DOCUMENT_SIZE} bytes")
    # Every value but the first of its container follows a comma. Those inside strings count too.
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise InvalidArgumentError(f"{what} has more than {MAX_VALUES} values")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"name {repeated[:80]!r} occurs twice in one object")
    return names


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no json value")


def _check_values(root: object) -> None:
    """Refuse depth beyond the limit and text that cannot be written as UTF-8 (escaped lone surrogates)."""
    level = [root]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise RecursionError
        deeper: list[object] = []
        for value in level:
            if isinstance(value, str):
                value.encode("utf-8")
            elif isinstance(value, dict):
                deeper.extend(value.keys())
                deeper.extend(value.values())
            elif isinstance(value, list):
                deeper.extend(value)
        level = deeper


def require_object(value: object, what: str) -> Mapping[str, Any]:
    """`value` as an object with text names.

    Raises:
        InvalidArgumentError: It is something else.
    """
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise InvalidArgumentError(f"{what} is not an object")
    return value


def require_text(fields: Mapping[str, Any], name: str, what: str) -> str:
    """A text field that must be there.

    Raises:
        InvalidArgumentError: It is missing or no text.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{what} has no text in {name!r}")
    return value


def optional_text(fields: Mapping[str, Any], name: str, what: str) -> str:
    """A text field; missing and null are the empty text.

    Raises:
        InvalidArgumentError: It is there and no text.
    """
    return "" if fields.get(name) is None else require_text(fields, name, what)


def optional_list(
    fields: Mapping[str, Any], name: str, what: str, read: Callable[[object], T]
) -> tuple[T, ...]:
    """A list whose elements `read` understands; missing and null are the empty list.

    Raises:
        InvalidArgumentError: It is no list, or `read` refuses an element.
    """
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise InvalidArgumentError(f"{what} has no list in {name!r}")
    return tuple(read(element) for element in value)


def optional_strings(fields: Mapping[str, Any], name: str, what: str) -> tuple[str, ...]:
    """A list of texts; missing and null are the empty list.

    Raises:
        InvalidArgumentError: It is no list, or an element is no text.
    """

    def text(element: object) -> str:
        if not isinstance(element, str):
            raise InvalidArgumentError(f"{what} has an element that is no text in {name!r}")
        return element

    return optional_list(fields, name, what, text)


def optional_text_map(fields: Mapping[str, Any], name: str, what: str) -> dict[str, str]:
    """An object whose values are texts; missing and null are the empty object, a null value the empty text.

    Raises:
        InvalidArgumentError: It is no object, or a value is no text.
    """
    value = fields.get(name)
    if value is None:
        return {}
    members = require_object(value, f"{name!r} of {what}")
    return {key: optional_text(members, key, f"{name!r} of {what}") for key in members}
