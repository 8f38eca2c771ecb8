"""One operation on several containers or images: all are tried, each failure is said."""

from __future__ import annotations

from cli.complaint import complain, refusal
from cli.session import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def for_each(names: list[str], act: Callable[[str], str]) -> int:
    """Print what `act` returns for each name. A single refusal is raised, of several each is said.

    Raises:
        RefusedError: there was but one name, and it was refused.
    """
    code = 0
    for name in names:
        try:
            print(act(name), flush=True)
        except RefusedError as error:
            if len(names) == 1:
                raise
            complain(refusal(error))
            code = 1
    return code
