r"""Filters as containerd's lists take them, parsed and bounded.

    field                present and not empty
    field==value         equal
    field!=value         not equal, or not there
    field~=value         a regular expression is found in it

A comma joins conditions that must all hold; of a list of filters, one is enough. An empty list lets all
pass, and so does an empty filter. A field is a path such as `name` or `labels."a.b"`; a value is plain, or
quoted with "..." (with \ before " and \) or with |...|.

Filters come from clients: their number and length are bounded, and so is what a regular expression may cost.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from storage.errors import InvalidArgumentError

MAX_FILTERS: Final = 64
MAX_LENGTH: Final = 4096
MAX_PATTERN: Final = 256
MAX_SUBJECT: Final = 1024
MAX_REPEATS: Final = 3
_OPERATORS: Final = ("==", "!=", "~=")
_PLAIN: Final = re.compile(r"[^\s,\"|=!~]+")
_PART: Final = re.compile(r'[A-Za-z0-9_/-]+|"(?:[^"\\]|\\.)*"')
# A repeat inside a repeated group takes exponential time to fail; three in a row are cubic at worst.
_REPEAT: Final = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\d*\})")
_REPEATED_GROUP: Final = re.compile(r"\)(?:[*+]|\{)")

Lookup = Callable[[Sequence[str]], str | None]
"""The value of a field of the thing at hand, by its path; None when it has none."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `operator` is one of those above, empty for presence."""

    path: tuple[str, ...]
    operator: str = ""
    value: str = ""
    pattern: re.Pattern[str] | None = None

    def holds(self, lookup: Lookup) -> bool:
        """Whether the thing at hand meets it."""
        found = lookup(self.path)
        if self.pattern is not None:
            return found is not None and self.pattern.search(found[:MAX_SUBJECT]) is not None
        if self.operator == "==":
            return found == self.value
        if self.operator == "!=":
            return found != self.value
        return bool(found)


@dataclass(frozen=True, slots=True)
class Filters:
    """A list of filters."""

    any_of: tuple[tuple[Condition, ...], ...]

    def match(self, lookup: Lookup) -> bool:
        """Whether one of them lets the thing at hand pass."""
        return not self.any_of or any(
            all(condition.holds(lookup) for condition in one) for one in self.any_of
        )


def parse_filters(texts: Sequence[str]) -> Filters:
    """Read filters.

    Raises:
        InvalidArgumentError: one is malformed, too long, or its expression could take too long.
    """
    if len(texts) > MAX_FILTERS:
        raise InvalidArgumentError(f"{len(texts)} filters are too many: use at most {MAX_FILTERS}")
    return Filters(tuple(_Reader(text).conditions() if text else () for text in texts))


class _Reader:
    """One filter, read from the left."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise InvalidArgumentError(f"filter {text[:40]!a}... is longer than {MAX_LENGTH} characters")
        self._text = text
        self._at = 0

    def conditions(self) -> tuple[Condition, ...]:
        found = [self._condition()]
        while self._at < len(self._text):
            self._expect(",")
            found.append(self._condition())
        return tuple(found)

    def _condition(self) -> Condition:
        path = [self._part()]
        while self._peek(1) == ".":
            self._at += 1
            path.append(self._part())
        operator = self._peek(2)
        if operator not in _OPERATORS:
            return Condition(tuple(path))
        self._at += 2
        value = self._value()
        return Condition(tuple(path), operator, value, _compiled(value) if operator == "~=" else None)

    def _part(self) -> str:
        found = _PART.match(self._text, self._at)
        if found is None:
            raise self._malformed("a field")
        self._at = found.end()
        return _unquoted(found.group())

    def _value(self) -> str:
        quote = self._peek(1)
        if quote == '"':
            return self._part()
        if quote == "|":
            end = self._text.find("|", self._at + 1)
            if end < 0:
                raise self._malformed("a closing |")
            value, self._at = self._text[self._at + 1 : end], end + 1
            return value
        found = _PLAIN.match(self._text, self._at)
        if found is None:
            raise self._malformed("a value, quoted if it has other signs than letters")
        self._at = found.end()
        return found.group()

    def _peek(self, count: int) -> str:
        return self._text[self._at : self._at + count]

    def _expect(self, sign: str) -> None:
        if self._peek(1) != sign:
            raise self._malformed(f"{sign!r} or the end")
        self._at += 1

    def _malformed(self, wanted: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"filter {self._text[:80]!a} wants {wanted} at {self._at}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN:
        raise InvalidArgumentError(f"expression {pattern[:40]!a}... is longer than {MAX_PATTERN} characters")
    if len(_REPEAT.findall(pattern)) > MAX_REPEATS or _REPEATED_GROUP.search(pattern):
        raise InvalidArgumentError(
            f"expression {pattern[:80]!a} could take too long: "
            f"use no repeated groups, and {MAX_REPEATS} repeats at most"
        )
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidArgumentError(f"expression {pattern[:80]!a} is not valid: {error}") from error
