"""The operations whose crash points are enumerated: each is prepared, done, verified and undone."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chaos.asking import persist
from chaos.expectations import EXPECTED, KEPT
from chaos.neighbour import NAME
from chaos.scenarios import QUIET
from cli.pull import pull
from cli.rm import remove_container
from cli.session import RefusedError
from cli.start import start_once
from storage.content.writer import IngestWriter

if TYPE_CHECKING:
    from chaos.runs import Run
    from chaos.scenarios import Worker

BLOB: Final = b"enumerated" * 1000


class Operation:
    """One operation of the load.

    Attributes:
        hold: a place to stop at while the failpoints are listed, for an actor that is gone afterwards.
        tail: places behind it.
        own: whether a container is prepared, whose actor is one of those to kill.
        stays: whether that actor is one process from the beginning to the end.
        zygote: places of the zygote's that only this operation passes.
        only: kinds of actor whose points count; empty for all.
    """

    hold = ""
    tail: tuple[str, ...] = ()
    own = False
    stays = True
    zygote: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.run: Run | None = None

    @property
    def made(self) -> Run:
        """The container that it is about."""
        if self.run is None:
            raise LookupError("there is no container yet")
        return self.run

    def prepare(self) -> None:
        """What must be there before."""

    def act(self) -> None:
        """Do it, as a client that persists."""

    def settle(self) -> None:
        """Verify the outcome, and undo it."""


class Pull(Operation):
    """Fetch an image of two layers."""

    hold = "puller.name.after"

    def act(self) -> None:
        """The client's pull."""
        image = self.worker.scene.images[0]
        persist(lambda: pull(self.worker.session, image.name, quiet=True))

    def settle(self) -> None:
        """Name, blobs byte for byte, layers; then all of it goes."""
        worker, image = self.worker, self.worker.scene.images[0]
        session, check = worker.session, worker.findings.check
        wish = {"namespace": "c", "name": image.name}
        check(KEPT, persist(lambda: session.ask("metadata", "images.get", wish)), image.name)
        for digest in image.blobs:
            info = persist(partial(session.ask, "content", "content.info", {"digest": digest}))
            found = hashlib.sha256(Path(info["path"]).read_bytes()).hexdigest()
            check(KEPT, digest == f"sha256:{found}", f"blob {digest} holds {found}")
        for chain in image.chains:
            body = {"namespace": "c", "key": chain}
            stat = persist(partial(session.ask, "snapshots", "snapshots.stat", body))
            check(KEPT, stat["kind"] == "committed", f"layer {chain} is {stat['kind']}")
        worker.scene.forget(session, image)


class Fetch(Pull):
    """Fetch it from a joined node: what its name means, and every blob."""

    def prepare(self) -> None:
        """Have such a node."""
        self.worker.scene.neighbour()

    def act(self) -> None:
        """No registry is asked."""
        image = self.worker.scene.images[0]
        persist(lambda: pull(self.worker.session, image.name, quiet=True, node=NAME))


class Commit(Operation):
    """Write an ingest and make it a blob."""

    digest = "sha256:" + hashlib.sha256(BLOB).hexdigest()

    def act(self) -> None:
        """As a puller does it."""
        session = self.worker.session
        body = {"ref": "enumerated", "digest": self.digest, "size": len(BLOB), "namespace": "c"}
        try:
            found = persist(lambda: session.ask("content", "content.open", body))
        except RefusedError as error:
            if error.code != "already_exists":
                raise
            return
        with IngestWriter(Path(found["path"]), limit=len(BLOB)) as writer:
            writer.start_at(0)
            writer.write(BLOB)
            writer.finish()
        stays = {"labels": {"containerd.io/gc.root": "enumerated"}}  # nothing else refers to it
        persist(lambda: session.ask("content", "content.commit", {**body, **stays}))

    def settle(self) -> None:
        """Byte for byte; then it goes."""
        session, check = self.worker.session, self.worker.findings.check
        info = persist(lambda: session.ask("content", "content.info", {"digest": self.digest}))
        check(KEPT, Path(info["path"]).read_bytes() == BLOB, "the blob is not what was written")
        persist(lambda: session.ask("content", "content.delete", {"digest": self.digest}))


class Create(Operation):
    """Create a container."""

    def act(self) -> None:
        """Not started."""
        self.run = self.worker.make(7, 50, wanted="stopped")

    def settle(self) -> None:
        """It is on record, starts, ends as it should, and goes."""
        run = self.made
        persist(lambda: start_once(self.worker.session, run.actor))
        self.worker.finish(run)


class Start(Create):
    """Start a container that was created."""

    own = True

    def prepare(self) -> None:
        """Create it."""
        self.run = self.worker.make(8, 50, wanted="stopped")

    def act(self) -> None:
        """Start it, and see it to its end: the exit is part of it."""
        run = self.made
        persist(lambda: start_once(self.worker.session, run.actor))
        self.worker.expect.exit(run, self.worker.expect.followed(run))

    def settle(self) -> None:
        """It has ended as it should, and goes."""
        self.worker.finish(self.made)


class Leave(Operation):
    """Run a container that removes itself, as `actr run --rm` does."""

    hold = "container.remove.forgotten"
    tail = ("container.finish.before", "container.finish.after")

    def act(self) -> None:
        """See it to its end: by then its name is free, and nobody finds it any more."""
        self.run = self.worker.make(12, 50, wanted="running", leaves=True)
        self.worker.expect.see_off(self.run)

    def settle(self) -> None:
        """What bears its id goes behind everybody's back."""
        self.made.over = True


class Exec(Operation):
    """One more process in a running container."""

    own = True

    def prepare(self) -> None:
        """Have one run."""
        self.run = self.worker.make(9, 0, wanted="running")
        self.worker.learn_init(self.made)

    def act(self) -> None:
        """With its output and its exit."""
        self.worker.execute(self.made)

    def settle(self) -> None:
        """It ran once at most; the container is untouched, ends, and goes."""
        self.worker.look_at_marks(self.made)
        self.worker.findings.check(EXPECTED, self.made.untouched(), f"{self.made.name} was touched")
        self.worker.finish(self.made, stop=True)


class Sleep(Operation):
    """Leave a running container alone: its actor sleeps, is woken by a request, and then by the end of it."""

    own = True
    stays = False
    zygote = tuple(
        f"zygote.{place}"
        for place in ("sleep.before", "sleep.after", "keeper.forked", "keeper.before", "keeper.after")
    )
    tail = ("container.sleep.before", "container.sleep.said", "container.sleep.left")  # of one that is gone

    def prepare(self) -> None:
        """Have one run."""
        self.run = self.worker.make(11, 0, wanted="running", pause=QUIET)
        self.worker.learn_init(self.made)

    def act(self) -> None:
        """It sleeps twice."""
        worker, run = self.worker, self.made
        for _ in range(2):
            worker.wait_until_asleep(run)
            state = persist(lambda: worker.session.ask(run.actor, "tasks.state", {}))
            worker.findings.check(KEPT, state["pid"] == run.init[0], f"{run.name} was touched")
        worker.wait_until_asleep(run)
        run.may_end = True
        worker.end_unseen(run)
        worker.expect.exit(run, worker.expect.followed(run))

    def settle(self) -> None:
        """It has ended as it should, and goes."""
        self.worker.finish(self.made)


class Remove(Operation):
    """Remove a container that has ended."""

    own = True
    hold = "container.remove.forgotten"
    tail = ("container.answer_removed.before", "container.finish.before", "container.finish.after")

    def prepare(self) -> None:
        """Have one end."""
        self.run = self.worker.make(10, 50, wanted="running")
        self.worker.expect.exit(self.made, self.worker.expect.followed(self.made))
        self.made.ended = True

    def act(self) -> None:
        """As actr rm does it."""
        run = self.made
        persist(lambda: remove_container(self.worker.session, run.id, force=True))
        run.over = True

    def settle(self) -> None:
        """It is gone."""
        wish = {"namespace": "c", "id": self.made.id}
        try:
            persist(lambda: self.worker.session.ask("metadata", "containers.get", wish))
        except RefusedError as error:
            self.worker.findings.check(KEPT, error.code == "not_found", str(error))
        else:
            self.worker.findings.check(KEPT, holds=False, text=f"{self.made.name} was removed and is there")


class Collect(Operation):
    """Collect an image that has lost its name."""

    def prepare(self) -> None:
        """Pull it, and take the name away; the daemon may begin to collect by itself."""
        image, session = self.worker.scene.images[0], self.worker.session
        persist(lambda: pull(session, image.name, quiet=True))
        wish = {"namespace": "c", "name": image.name}
        persist(lambda: session.ask("metadata", "images.delete", wish))

    def act(self) -> None:
        """As actr system gc does it."""
        persist(lambda: self.worker.session.ask("collector", "gc.run", {}))

    def settle(self) -> None:
        """Blobs and layers are gone, and the stores are sound."""
        worker, image = self.worker, self.worker.scene.images[0]
        session, check = worker.session, worker.findings.check
        self.act()
        persist(lambda: session.ask("snapshots", "snapshots.cleanup", {}))
        blobs = persist(lambda: session.ask("content", "content.list", {}))["blobs"]
        left = {one["digest"] for one in blobs}.intersection(image.blobs)
        check(KEPT, not left, f"blobs were not collected: {sorted(left)}")
        listed = persist(lambda: session.ask("snapshots", "snapshots.list", {"namespace": "c"}))["snapshots"]
        layers = {one["key"] for one in listed}.intersection(image.chains)
        check(KEPT, not layers, f"layers were not collected: {sorted(layers)}")
        problems = persist(lambda: session.ask("collector", "system.check", {}))["problems"]
        check(KEPT, not problems, f"the stores are not sound: {problems}")
