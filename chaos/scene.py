"""The scene of a run: a registry with images, a daemon in its own directories, what is known of both."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from chaos import processes
from chaos.asking import RecordingSession, persist
from chaos.disks import Disk
from chaos.findings import Findings
from chaos.neighbour import Neighbour
from chaos.runs import Runs
from cli.session import RefusedError
from tests.e2e import images as layouts
from tests.e2e.daemon import Daemon
from tests.e2e.registry import Registry
from transport.errors import RemoteError

if TYPE_CHECKING:
    import tarfile
    from pathlib import Path

IMAGES = 6
START_PATIENCE = 120.0  # seconds until a start of the daemon counts as failed; the runner has its own bound
LAYER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is fetched and taken away again: name, blobs, chain IDs from the bottom up."""

    name: str
    blobs: tuple[str, ...]
    chains: tuple[str, ...]


class Scene:
    """From `with` to the end of its block; nothing is left afterwards but the log.

    Attributes:
        busybox: name of the image that containers are made of.
        marks: keys of the events that the load has published.
        disk: where the daemon's durable state is, if that is a disk of its own.
    """

    def __init__(
        self,
        directory: Path,
        findings: Findings,
        seed: int,
        *,
        own_disk: bool = False,
        sleep_after: float | None = None,
        runtime: str = "runc",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.findings = findings
        self.runs = Runs()
        self.daemon = Daemon(directory, ("--failpoints",), ready_seconds=START_PATIENCE, runtime=runtime)
        self.daemon.sleep_after = sleep_after or self.daemon.sleep_after
        self.busybox = ""
        self.images: list[Image] = []
        self.marks: list[str] = []
        self._chance = random.Random(seed)
        self._registry = Registry(directory / "registry")
        self._neighbour: Neighbour | None = None
        self.disk = Disk(directory / "disk.img", self.root) if own_disk else None

    @property
    def root(self) -> Path:
        """The daemon's durable state."""
        return self.daemon.root

    @property
    def state(self) -> Path:
        """The daemon's passing state."""
        return self.daemon.state

    @property
    def socket(self) -> Path:
        """The door."""
        return self.daemon.state / "actord.sock"

    def __enter__(self) -> Self:
        self._registry.__enter__()
        self.busybox = f"{self._registry.host}/library/busybox:latest"
        layouts.push(layouts.busybox(self.directory / "busybox"), "latest", self.busybox)
        self.images = [self._image(number) for number in range(IMAGES)]
        if self.disk is not None:
            self.disk.mount()
        self.daemon.start()
        self.daemon.actr("--namespace", "c", "pull", self.busybox)
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.containers.append("c")
        try:
            self.daemon.clean_up()
        finally:
            if self._neighbour is not None:
                self._neighbour.end()
            self._registry.__exit__()
            if self.disk is not None:
                self.disk.unmount()

    def neighbour(self) -> Neighbour:
        """A node beside the daemon, which knows it, and which has the first of the images."""
        if self._neighbour is None:
            self._neighbour = Neighbour(self.directory / "neighbour").start()
            self._neighbour.fetch(self.images[0].name)
            self._neighbour.join(self.session())
        return self._neighbour

    def session(self) -> RecordingSession:
        """A new connection."""
        return RecordingSession(self.socket, self.findings)

    def processes(self) -> list[processes.Seen]:
        """The actors that live."""
        return processes.actors(self.state)

    def actors(self, session: RecordingSession) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each."""
        found = persist(
            lambda: session.ask("supervisor", "introspection.actors", {"memory": False}, limit=10)
        )
        return {one["name"]: one for one in found["actors"]}

    def restart(self) -> float:
        """Start the daemon after its zygote has ended; the seconds that took."""
        began = time.monotonic()
        self.daemon.start()
        return time.monotonic() - began

    # Images

    def _image(self, number: int) -> Image:
        """Two layers of noise that no other image has."""
        layout = layouts.Layout(self.directory / f"image-{number}")
        layers = [layout.add_layer(partial(self._noise, f"noise-{part}")) for part in range(2)]
        layout.tag("latest", layout.add_image(layers, {"Cmd": ["/none"]}))
        name = f"{self._registry.host}/library/noise-{number}:latest"
        layouts.push(layout, "latest", name)
        return Image(name, tuple(one["digest"] for one, _ in layers), chain_ids([diff for _, diff in layers]))

    def _noise(self, name: str, tar: tarfile.TarFile) -> None:
        layouts.add_file(tar, name, self._chance.randbytes(LAYER_BYTES))

    def forget(self, session: RecordingSession, image: Image) -> None:
        """Take away an image and its layers: the next pull has to fetch them. Raises RefusedError."""

        def delete() -> None:
            try:
                session.ask("metadata", "images.delete", {"namespace": "c", "name": image.name})
            except RefusedError as error:
                if error.code != "not_found":
                    raise

        persist(delete)
        for chain in reversed(image.chains):
            persist(partial(_remove_layer, session, chain))
        for digest in image.blobs:
            persist(partial(session.ask, "content", "content.delete", {"digest": digest}))


def _remove_layer(session: RecordingSession, chain: str) -> None:
    """A layer that a puller of whom nobody has heard still unpacks upon is free a little later."""
    try:
        session.ask("snapshots", "snapshots.remove", {"namespace": "c", "key": chain})
    except RefusedError as error:
        if "has children" not in str(error):
            raise
        raise RefusedError(RemoteError("unavailable", str(error)), error.op, error.body) from error


def chain_ids(diffs: list[str]) -> tuple[str, ...]:
    """From the bottom up (image-spec, config, "Layer ChainID")."""
    chains = [diffs[0]]
    for diff in diffs[1:]:
        chains.append("sha256:" + hashlib.sha256(f"{chains[-1]} {diff}".encode()).hexdigest())
    return tuple(chains)
