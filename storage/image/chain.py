"""Chain IDs: the name of a stack of layers, and so of the snapshot that holds it.

Source: OCI image-spec, "Layer ChainID".
"""

from collections.abc import Iterable
from itertools import accumulate

from storage.digest import Digest


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain ID after each layer, from the lowest up; the last is that of the whole root."""
    return tuple(accumulate(diff_ids, lambda chain, diff_id: Digest.of(f"{chain} {diff_id}".encode())))
