"""What a 401 answer asks for: the WWW-Authenticate header (RFC 9110 section 11.6.1).

Several challenges may share one line, separated by the same comma that separates their parameters.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_HEADER = 16 << 10  # characters looked at, all lines together

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - grammar
_PIECE = re.compile(
    rf'\s*(?:,\s*)*(?:(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))'
    rf"|(?P<scheme>{_TOKEN})(?=\s|,|$))"
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: a scheme in lower case, and its parameters with names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(lines: Sequence[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate lines; what follows a malformed place in a line is ignored."""
    challenges: list[Challenge] = []
    left = LONGEST_HEADER
    for line in lines:
        challenges += _parse_line(line[:left])
        left = max(0, left - len(line))
    return challenges


def _parse_line(line: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = 0
    while piece := _PIECE.match(line, position):
        position = piece.end()
        if piece["scheme"]:
            challenges.append(Challenge(piece["scheme"].lower(), {}))
        elif challenges:
            value = piece["plain"] or re.sub(r"\\(.)", r"\1", piece["quoted"] or "")
            challenges[-1].parameters.setdefault(piece["name"].lower(), value)
    return challenges
