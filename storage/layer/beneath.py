"""What the layers below show through the layer that is being written, of directories by their real paths."""

from collections.abc import Callable
from typing import Final

from storage.layer.lowers import NO_LAYERS, Found, Layers, Lowers

_KNOWN_PATHS: Final = 4096


class Beneath:
    """The layers below, less what the layer hides of them."""

    def __init__(self, lowers: Callable[[], Lowers]) -> None:
        """`lowers` gives them, once they are there."""
        self._lowers = lowers
        self._layers: dict[bytes, Layers] = {}
        self._opaque: set[bytes] = set()
        self._hidden: set[bytes] = set()  # names of the layers below that were taken away

    def find(self, path: bytes) -> Found | None:
        """What they show at the real path."""
        layers = self.layers_of(path.rpartition(b"/")[0])
        return None if path in self._hidden else self._lowers().find(path, layers)

    def layers_of(self, real: bytes) -> Layers:
        """The lower layers whose directory of that path shows through."""
        every = self._lowers().all
        if not every:
            return NO_LAYERS
        path = b""
        layers = every
        for name in real.split(b"/") if real else ():
            path = path + b"/" + name if path else name
            known = self._layers.get(path)
            layers = self._layers_below(path, layers) if known is None else known
            self._layers[path] = layers
        if len(self._layers) > _KNOWN_PATHS:
            self._layers.clear()
        return layers

    def _layers_below(self, path: bytes, layers: Layers) -> Layers:
        if not layers or path in self._opaque or path in self._hidden:
            return NO_LAYERS
        found = self._lowers().find(path, layers)
        return found.layers if found and found.is_directory else NO_LAYERS

    def is_hidden(self, path: bytes) -> bool:
        """Whether what they have at the real path was taken away."""
        return path in self._hidden

    def make_opaque(self, path: bytes) -> None:
        """Nothing shows through the directory at a real path any more."""
        self._opaque.add(path)
        self._close_off(path)

    def hide(self, path: bytes) -> None:
        """What they have at the real path is gone."""
        self._hidden.add(path)
        self._close_off(path)

    def _close_off(self, path: bytes) -> None:
        """Forget what showed through at a real path and below it."""
        if path in self._layers:  # without it, nothing below it is known either
            inside = path + b"/"
            for known in [known for known in self._layers if known == path or known.startswith(inside)]:
                del self._layers[known]
