r"""`--format '{{.Name}}'`: a line for each thing, as people know it from docker. Pure.

    {{.Name}} {{.Task.Pid}} {{.Labels.tier}}    fields, whatever the case and without underscores
    {{json .}} {{json .Labels}}                 as JSON
    {{.Name}}\t{{.ID}}                           \t and \n are a tab and a new line
    table {{.Name}}\t{{.ID}}                     with heads and aligned

It is a part of Go's templates; the rest is answered with an error that says what there is.
"""

from __future__ import annotations

import json
import re
from functools import partial

from cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_FIELD = re.compile(r"(json\s+)?((?:\.[A-Za-z_][\w-]*)+|\.)")
_TABLE = "table "
MOST_NAMED = 30  # fields in an error


class Template:
    """One that was read. Raises UsageError for what it does not know."""

    def __init__(self, text: str) -> None:
        text = text.replace("\\t", "\t").replace("\\n", "\n")
        self.is_table = text.startswith(_TABLE)
        self._text = _ACTION.sub(_tidied, text.removeprefix(_TABLE))
        if "{{" in _ACTION.sub("", self._text):
            raise UsageError(f"--format: a {{{{ without its }}}} in {self._text!r}")
        for action in _ACTION.findall(self._text):
            if not _FIELD.fullmatch(action):
                raise UsageError(
                    f"--format knows {{{{.Field}}}} and {{{{json .Field}}}}, not {{{{{action}}}}}"
                )

    def lines(self, found: Any) -> Iterator[str]:
        """A line for each of a list, or for the one thing; a field that only others have is empty.

        Raises UsageError for a field that none of them has.
        """
        things = found if isinstance(found, list) else [found]
        self._check(things)
        for one in things:
            yield _filled(self._text, one)

    def rows(self, found: Any) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table; a tab of the template, and none of a value, is between two columns."""
        things = found if isinstance(found, list) else [found]
        self._check(things)
        cells = self._text.split("\t")
        heads = [_ACTION.sub(lambda match: _head(match[1]), cell) for cell in cells]
        return heads, [[_filled(cell, one) for cell in cells] for one in things]

    def _check(self, things: Sequence[Any]) -> None:
        for action in _ACTION.findall(self._text):
            _check(action, things)


def _tidied(action: re.Match[str]) -> str:
    """With one space where there was a tab or a new line."""
    return f"{{{{{' '.join(action[1].split())}}}}}"


def _filled(text: str, one: Any) -> str:
    return _ACTION.sub(partial(_replaced, one), text)


def _read(action: str) -> tuple[bool, list[str]]:
    """Whether JSON is wanted, and the names that lead to the value."""
    as_json, path = _FIELD.fullmatch(action).groups()  # type: ignore[union-attr]  # the template was read
    return bool(as_json), path.strip(".").split(".") if path != "." else []


def _check(action: str, things: Sequence[Any]) -> None:
    for name in _read(action)[1]:
        found = [key for one in things if isinstance(one, dict) for key in one]
        values = [value for one in things if (value := _field(one, name)) is not None]
        if things and not values and _plain(name) not in map(_plain, found):
            known = ", ".join(f".{key}" for key in list(dict.fromkeys(found))[:MOST_NAMED]) or "none"
            raise UsageError(f"--format: no field {name} in {{{{{action}}}}}; there are {known}")
        things = values


def _replaced(one: Any, action: re.Match[str]) -> str:
    return _shown(action[1], one)


def _shown(action: str, one: Any) -> str:
    as_json, names = _read(action)
    for name in names:
        one = _field(one, name)
    if as_json or isinstance(one, dict | list):
        return json.dumps(one, ensure_ascii=False)
    return "" if one is None else str(one).lower() if isinstance(one, bool) else str(one)


def _field(one: Any, name: str) -> Any:
    if not isinstance(one, dict):
        return None
    if name in one:
        return one[name]
    return next((value for key, value in one.items() if _plain(key) == _plain(name)), None)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _head(action: str) -> str:
    return action.rpartition(".")[2].replace("_", " ").upper()
