"""Which containers `actr ps --filter KEY=VALUE` is about. Pure.

Those of one key are alternatives, but labels, of which a container has to have all; keys narrow each other.
"""

from __future__ import annotations

from cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Record = dict[str, Any]

STATUSES = ("created", "running", "paused", "exited")


def parse(texts: Sequence[str]) -> dict[str, list[str]]:
    """Values by key. Raises UsageError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in _MATCH or not equals or not value:
            raise UsageError(
                f"--filter wants one of {', '.join(f'{name}=' for name in _MATCH)}, not {text!r}"
            )
        if key == "status" and value not in STATUSES:
            raise UsageError(f"--filter status= is one of {', '.join(STATUSES)}, not {value!r}")
        found.setdefault(key, []).append(_canonical(value) if key == "ancestor" else value)
    return found


def _canonical(image: str) -> str:
    from storage.errors import InvalidArgumentError
    from storage.reference import Reference

    try:
        return str(Reference.parse(image))
    except InvalidArgumentError as error:
        raise UsageError(f"--filter ancestor={image}: {error}") from error


def matches(container: Record, wanted: dict[str, list[str]], status: str) -> bool:
    """Whether it is one of those; `status` is its task's."""
    record = {**container, "status": "exited" if status == "stopped" else status}
    return all(
        (all if key == "label" else any)(_MATCH[key](record, value) for value in values)
        for key, values in wanted.items()
    )


def _has_label(record: Record, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    labels = record.get("labels") or {}
    return key in labels and (not equals or labels[key] == value)


_MATCH: dict[str, Callable[[Record, str], bool]] = {
    "name": lambda record, value: value in record["name"],
    "id": lambda record, value: record["id"].startswith(value),
    "label": _has_label,
    "status": lambda record, value: record["status"] == value,
    "ancestor": lambda record, value: record["image"] == value,
}
