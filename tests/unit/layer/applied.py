"""Applying crafted tars to overlay and native uppers."""

import io

from actors.linux.openat2 import open_in_root
from actors.linux.syncfs import syncfs
from storage.layer.apply import apply_layer


class Snapshots:
    """Uppers below one folder; `top` is the last, `lowers` are those below the next one, nearest first."""

    def __init__(self, path):
        self.path = path
        self.lowers = []

    @property
    def top(self):
        return self.lowers[0]

    def apply(self, tar, **options):
        """Apply to a new overlay upper on what is there."""
        upper = self.path / f"upper{len(self.lowers)}"
        upper.mkdir()
        result = apply_to(upper, tar, lowers=self.lowers, **options)
        self.lowers.insert(0, upper)
        return result


def apply_to(upper, tar, lowers=(), **options):
    options = {"open_in_root": open_in_root, "sync": syncfs, **options}
    return apply_layer(io.BytesIO(bytes(tar)), upper, lowers, **options)
