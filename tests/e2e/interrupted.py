"""Pulls that are interrupted at random: the connection is cut, the puller killed, or the whole daemon, which
is started again; and each has to finish.

Used by a short test and by `bin/chaos --pulls`. The witness before the registry says what was sent, and
whether anything was asked for that the store had already.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.daemon import running
from tests.e2e.registry import Registry, make_image, push_with_skopeo
from tests.e2e.witness import Witness, spans_of_ingest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.daemon import Daemon
    from tests.e2e.registry import Image

PIECE = 64 << 20
SAY_EVERY = 20  # pulls
LOOK_SECONDS = 5.0
SMALL = 20_000  # bytes of the second layer
WAYS = ("kill", "cut", "kill, then cut", "daemon")


@dataclass
class Figures:
    """What became of all pulls."""

    finished: int = 0
    struck: int = 0
    killed: int = 0
    cut: int = 0
    restarted: int = 0
    repeated: int = 0  # pulls that were called for again, since the daemon was away for too long
    failed: list[str] = field(default_factory=list)
    asked_again: int = 0  # bytes asked for although they were there
    forgotten: int = 0  # bytes that were there when the daemon was killed, and not when it was back
    sent: int = 0  # bytes of blobs that left the registry
    size: int = 0  # bytes of blobs that had to, all pulls together
    requests: int = 0
    bad: int = 0  # blobs in the store whose content is not what their name says

    def lines(self) -> str:
        """For people."""
        lost = self.sent - self.size
        return (
            f"{self.finished} pulls finished, {len(self.failed)} failed; {self.struck} interruptions: "
            f"{self.killed} pullers killed, {self.cut} connections cut, {self.restarted} times the whole "
            f"daemon killed and started; {self.repeated} pulls called for again\n"
            f"{self.requests} requests for blobs, {self.asked_again} bytes asked for that were there "
            f"already, {self.forgotten} bytes gone with the daemon\n"
            f"{self.sent} bytes sent for {self.size} bytes of blobs: {lost} lost on the way "
            f"({lost / max(1, self.struck):.0f} for each interruption)\n"
            f"{self.bad} blobs with bad content"
        )


class Interrupted:
    """A registry, a witness and a daemon, and pulls of one image again and again."""

    def __init__(self, directory: Path, size: int, window: int, seed: int) -> None:
        self._directory = directory
        self._window = window
        self._random = random.Random(seed)  # noqa: S311 - where to strike, not a secret
        self._size = size
        self._restarting = threading.Lock()
        self._digests: tuple[str, ...] = ()
        self.figures = Figures()

    def perform(
        self, pulls: int, until: float = float("inf"), tell: Callable[[str], None] = lambda _: None
    ) -> Figures:
        """Pull `pulls` times, each with an interruption at a random byte; begin none after `until`."""
        content = b"".join(self._random.randbytes(piece) for piece in _pieces(self._size))
        image = make_image(self._directory / "layout", "v1", content, b"x" * SMALL)
        self._digests = tuple(image.blobs)
        (self._directory / "daemon").mkdir(parents=True)
        settings = (
            f"[registry]\nrange_bytes = {self._window}\nranges_after = 0.02\n"
            f'docker_config = "{self._directory}/none"\n'
        )
        with (
            Registry(self._directory / "registry") as registry,
            running(self._directory / "daemon", settings=settings) as daemon,
            Witness(registry.host, lambda digest: self._had(daemon, digest)) as witness,
        ):
            push_with_skopeo(image, registry.host, "big")
            for number in range(pulls):
                if time.monotonic() > until:
                    break
                self._pull(daemon, witness, image, WAYS[number % len(WAYS)])
                if (number + 1) % SAY_EVERY == 0:
                    tell(f"after {number + 1} pulls:\n{self.figures.lines()}")
        return self.figures

    def _had(self, daemon: Daemon, digest: str) -> list[tuple[int, int]]:
        return spans_of_ingest(daemon.root / "content", digest, self._window)

    def _pull(self, daemon: Daemon, witness: Witness, image: Image, way: str) -> None:
        figures, name = self.figures, f"{witness.host}/big:v1"
        witness.fetches.clear()
        witness.arm(self._random.randrange(1, self._size), lambda: self._strike(daemon, witness, way))
        done = self._pulled(daemon, name)
        figures.size += sum(map(len, image.blobs.values()))
        figures.sent += sum(fetch.sent for fetch in witness.fetches)
        figures.asked_again += sum(fetch.again for fetch in witness.fetches)
        figures.requests += len(witness.fetches)
        figures.bad += self._bad_blobs(daemon)
        if done.returncode == 0 and self._is_whole(daemon, image):
            figures.finished += 1
        else:
            figures.failed.append(f"{way}: exit code {done.returncode}: {done.stderr[-500:]}")
        self._forget(daemon, name)

    def _pulled(self, daemon: Daemon, name: str) -> subprocess.CompletedProcess[str]:
        """As a person would: once more, should the daemon have stayed away for longer than actr waits."""
        while True:
            done = daemon.actr("pull", name, check=None, seconds=170)
            with self._restarting:
                pass
            if not done.returncode or "no daemon answers" not in done.stderr:
                return done
            self.figures.repeated += 1

    def _strike(self, daemon: Daemon, witness: Witness, way: str) -> bool:
        """Called by the witness, in the middle of sending. Says whether to hang up."""
        self.figures.struck += 1
        if way == "cut":
            self.figures.cut += 1
            return True
        if way == "daemon":
            self._restart(daemon)
            return True
        with daemon.client_in_use() as client:
            actors = client.request("introspection.actors", {}, to="supervisor")["actors"]
        for one in actors:
            if one["kind"] == "puller" and one["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one["pid"], signal.SIGKILL)
                    self.figures.killed += 1
        if way == "kill, then cut":
            more = self._random.randrange(1, max(2, self._size // 4))
            witness.arm(more, lambda: self._strike(daemon, witness, "cut"))
        return False

    def _restart(self, daemon: Daemon) -> None:
        """What had come by the time that everybody was dead has to be there afterwards."""
        self.figures.restarted += 1
        with self._restarting:
            daemon.kill_everything()
            before = self._bytes_there(daemon)
            daemon.start()
            end = time.monotonic() + LOOK_SECONDS  # a look may miss what is being renamed
            while (there := self._bytes_there(daemon)) < before and time.monotonic() < end:
                time.sleep(0.05)
            self.figures.forgotten += max(0, before - there)

    def _bytes_there(self, daemon: Daemon) -> int:
        count = 0
        for digest in self._digests:
            reached = 0
            for start, end in sorted(self._had(daemon, digest)):
                count += max(0, end - max(start, reached))
                reached = max(reached, end)
        return count

    @staticmethod
    def _is_whole(daemon: Daemon, image: Image) -> bool:
        blobs = daemon.root / "content" / "blobs" / "sha256"
        return all((blobs / digest.removeprefix("sha256:")).exists() for digest in image.blobs)

    @staticmethod
    def _bad_blobs(daemon: Daemon) -> int:
        bad = 0
        for path in (daemon.root / "content" / "blobs" / "sha256").iterdir():
            with path.open("rb") as file:
                bad += hashlib.file_digest(file, "sha256").hexdigest() != path.name
        return bad

    @staticmethod
    def _forget(daemon: Daemon, name: str) -> None:
        """Have the daemon as it was before the pull."""
        daemon.actr("rmi", name, check=None)
        with daemon.client_in_use() as client:
            for blob in client.request("content.list", {}, to="content")["blobs"]:
                client.request("content.delete", {"digest": blob["digest"]}, to="content")
            for _ in range(4):  # a snapshot with children is refused: those go first
                listed = client.request("snapshots.list", {"namespace": "default"}, to="snapshots")
                for one in listed["snapshots"]:
                    with contextlib.suppress(Exception):
                        body = {"namespace": "default", "key": one["key"]}
                        client.request("snapshots.remove", body, to="snapshots")


def _pieces(size: int) -> list[int]:
    """`size` in pieces that the generator of random bytes can make at once."""
    return [PIECE] * (size // PIECE) + [size % PIECE]
