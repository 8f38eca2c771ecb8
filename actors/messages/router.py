"""What actors ask the router itself, beside what clients may: see docs/protocol.md, "The router itself"."""

from dataclasses import dataclass

from actors.messages.declare import operation


@operation("router.leave", "router", repeatable=True)
@dataclass(frozen=True, slots=True)
class RouterLeave:
    """The actor that asks goes to sleep: requests are no longer sent to it, and are word to wake it.

    Answer: `left`; false while somebody waits for an answer of it: then nothing has changed.
    """
