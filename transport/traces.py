"""Trace ids, in the form of W3C Trace Context (w3.org/TR/trace-context), as envelopes carry them.

Either a whole `traceparent` (version, trace, span, flags), or a trace id alone, which nobody has begun yet.
"""

import re

_FORM = re.compile(r"(?:(?!ff)[0-9a-f]{2}-)?([0-9a-f]{32})(?:-([0-9a-f]{16})(?:-[0-9a-f]{2})?)?", re.ASCII)


def read(text: str) -> tuple[str, str]:
    """Trace id and the id of the span that it comes from, in hex; empty is what is not there or is wrong.

    It comes from clients: nothing of it is believed but these digits.
    """
    found = _FORM.fullmatch(text) if len(text) >= 32 else None
    if found is None or not found[1].strip("0"):
        return "", ""
    span = found[2] or ""
    return found[1], span if span.strip("0") else ""


def carried(trace: str, span: str) -> str:
    """As it goes on from a span to whom that one asks."""
    return f"00-{trace}-{span}-01" if span else trace
