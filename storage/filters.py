r"""Filters as containerd's lists take them, parsed and bounded.

    field                present and not empty
    field==value         equal
    field!=value         not equal, or not there
    field~=value         a regular expression is found in it; where it is not there, in nothing

A comma joins conditions that must all hold; of a list of filters, one is enough. An empty list lets all
pass, and so does an empty filter. A field is a path such as `name` or `labels."a.b"`; a value is plain, up to
a space or comma, or quoted with "..." (with \ before " and \) or with |...|; an expression also with /.../.
Spaces may stand around fields, operators, values and commas.

Filters come from clients: their number and length are bounded, and so is what a regular expression may cost.
Python's tries out, for each place where a match may begin, every way to share the text out among the repeats:
so their number is bounded, and for all values of a minute together, the work that they make.
"""

import math
import re
import time
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
_PLAIN: Final = re.compile(r"[^\s,\"|=!~][^\s,]*")
_SLASHED: Final = re.compile(r"/((?:[^/\\]|\\.)*)/(?=\s*(?:,|$))")
_PART: Final = re.compile(r'[A-Za-z0-9_/-]+|"(?:[^"\\]|\\.)*"')
# Of a whole list of filters, for all values that are looked at within a minute: some seconds.
MAX_WORK: Final = 500_000_000
REGAINED: Final = MAX_WORK / 60.0  # a second: who follows events for days looks at any number of them
# What an expression is made of: a quantifier may have a sign of its own behind it, lazy or possessive.
_TOKEN: Final = re.compile(r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\??|(?:[*+?]|\{\d*(?:,\d*)?\})[?+]?|.")
_QUANTIFIER: Final = re.compile(r"[*+?].?|\{.*,.*")
# Whitespace or a comment may stand before a quantifier with these.
_UNREADABLE: Final = re.compile(r"\(\?(?:#|[A-Za-z]*x)")

Lookup = Callable[[Sequence[str]], str | None]
"""The value of a field of the thing at hand, by its path; None when it has none."""


class _Budget:
    """What the expressions of a list of filters may still do."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left, self._at = float(MAX_WORK), clock()

    def spend(self, work: int) -> None:
        now = self._clock()
        self._left = min(MAX_WORK, self._left + (now - self._at) * REGAINED) - work
        self._at = now
        if self._left < 0:
            raise InvalidArgumentError("the filters take too long: use fewer repeats, or begin with ^")


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression, and how many repeats or choices it tries out against each other."""

    pattern: re.Pattern[str]
    choices: int
    budget: _Budget

    def is_in(self, text: str) -> bool:
        """Whether it is found in a text. Raises InvalidArgumentError when all that was asked is too much."""
        subject = text[:MAX_SUBJECT]
        source = self.pattern.pattern
        free = self.choices + (not source.startswith("^") or "|" in source)  # and where it begins
        self.budget.spend(math.comb(len(subject) + free, free))
        return self.pattern.search(subject) is not None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `operator` is one of those above, empty for presence."""

    path: tuple[str, ...]
    operator: str = ""
    value: str = ""
    expression: Expression | None = None

    def holds(self, lookup: Lookup) -> bool:
        """Whether the thing at hand meets it."""
        found = lookup(self.path)
        if self.expression is not None:
            return self.expression.is_in(found or "")
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

    def values(self, *path: str) -> list[str] | None:
        """All that the field of this path may be equal to, to pass; None where anything may pass."""
        found = []
        for one in self.any_of:
            named = [each.value for each in one if each.path == path and each.operator == "=="]
            if not named:
                return None
            found.append(named[0])
        return sorted(set(found)) or None


def parse_filters(texts: Sequence[str], clock: Callable[[], float] = time.monotonic) -> Filters:
    """Read filters; `clock` gives seconds.

    Raises:
        InvalidArgumentError: one is malformed, too long, or its expression could take too long.
    """
    if len(texts) > MAX_FILTERS:
        raise InvalidArgumentError(f"{len(texts)} filters are too many: use at most {MAX_FILTERS}")
    budget = _Budget(clock)
    return Filters(tuple(_Reader(text, budget).conditions() if text else () for text in texts))


class _Reader:
    """One filter, read from the left."""

    def __init__(self, text: str, budget: _Budget) -> None:
        if len(text) > MAX_LENGTH:
            raise InvalidArgumentError(f"filter {text[:40]!a}... is longer than {MAX_LENGTH} characters")
        self._text = text
        self._budget = budget
        self._at = 0

    def conditions(self) -> tuple[Condition, ...]:
        found = [self._condition()]
        while self._at < len(self._text):
            self._expect(",")
            found.append(self._condition())
        return tuple(found)

    def _skip_space(self) -> None:
        while self._peek(1).isspace():
            self._at += 1

    def _condition(self) -> Condition:
        self._skip_space()
        path = [self._part()]
        while self._peek(1) == ".":
            self._at += 1
            path.append(self._part())
        self._skip_space()
        operator = self._peek(2)
        if operator not in _OPERATORS:
            return Condition(tuple(path))
        self._at += 2
        self._skip_space()
        value = self._value(expression=operator == "~=")
        self._skip_space()
        expression = _compiled(value, self._budget) if operator == "~=" else None
        return Condition(tuple(path), operator, value, expression)

    def _part(self) -> str:
        found = _PART.match(self._text, self._at)
        if found is None:
            raise self._malformed("a field")
        self._at = found.end()
        return _unquoted(found.group())

    def _value(self, *, expression: bool) -> str:
        quote = self._peek(1)
        if expression and (slashed := _SLASHED.match(self._text, self._at)):
            self._at = slashed.end()
            return slashed[1].replace("\\/", "/")
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


def _compiled(pattern: str, budget: _Budget) -> Expression:
    if len(pattern) > MAX_PATTERN:
        raise InvalidArgumentError(f"expression {pattern[:40]!a}... is longer than {MAX_PATTERN} characters")
    choices = _choices(pattern)
    if choices is None or choices > MAX_REPEATS:
        raise InvalidArgumentError(
            f"expression {pattern[:80]!a} could take too long: use no repeated groups, and {MAX_REPEATS} "
            "repeats or groups of alternatives at most"
        )
    try:
        return Expression(re.compile(pattern), choices, budget)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidArgumentError(f"expression {pattern[:80]!a} is not valid: {error}") from error


def _choices(pattern: str) -> int | None:
    """Quantifiers and groups with alternatives in an expression; None for one with a repeated group."""
    if _UNREADABLE.search(pattern):
        return None
    choices, before = 0, ""
    alternatives = [False]  # of each open group
    for sign in _TOKEN.findall(pattern):
        if sign[0] == "(":
            alternatives.append(False)
        elif sign == ")" and len(alternatives) > 1:
            choices += alternatives.pop()
        elif sign == "|":
            alternatives[-1] = True
        elif before == ")" and sign[0] in "*+{":
            return None
        elif _QUANTIFIER.fullmatch(sign):
            choices += 1
        before = sign
    return choices
