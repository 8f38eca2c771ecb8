"""Reachability over resources: the mark of mark and sweep.

Pure: no clock, no store. Iterative, so that a hostile chain of references costs memory, not the stack.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Resource(NamedTuple):
    """Anything that can refer or be referred to.

    Attributes:
        type: content, images, containers, ingests, or snapshots/SNAPSHOTTER.
        namespace: its namespace; nothing refers beyond its own.
        id: digest, name, ref or key.
    """

    type: str
    namespace: str
    id: str


def reachable(
    roots: Iterable[Resource],
    edges: Mapping[Resource, Iterable[Resource]],
    flat: Iterable[Resource] = (),
) -> set[Resource]:
    """Everything that the roots lead to, themselves included.

    `flat` resources are reached too, but what they refer to is not, unless a root leads there.
    """
    found: set[Resource] = set()
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(edges.get(one, ()))
    return found.union(flat)
