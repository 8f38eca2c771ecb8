"""What a layer may cost at most.

A layer comes from a registry, so each dimension that it can inflate has a cap. The defaults lie far above
what real images need (the largest common ones hold about 300,000 entries and 30 GB).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps for one layer; passing one is an InvalidArgumentError.

    Attributes:
        entries: Tar headers of any kind, also those that only extend the next one.
        header_bytes: One PAX header, GNU long name or sparse map.
        path_bytes: One name or link target; Linux takes no more than 4,095.
        depth: Components of one name.
        total_bytes: The uncompressed stream; also the apparent size of one sparse file.
        ratio: Uncompressed bytes for each compressed one, looked at beyond `ratio_floor`.
        ratio_floor: Uncompressed bytes that are fine at any ratio.
        window_bytes: History that a zstd frame may ask a reader to keep in memory.
    """

    entries: int = 2_000_000
    header_bytes: int = 1 << 20
    path_bytes: int = 4095
    depth: int = 512
    total_bytes: int = 64 << 30
    ratio: int = 250
    ratio_floor: int = 256 << 20
    window_bytes: int = 128 << 20


DEFAULT_LIMITS = Limits()
