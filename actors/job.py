"""Job: one piece of work on images: load, save, convert, commit and the like; see actors/jobs/.

States: running, then done or failed; ends a moment later. Accepts `jobs.attach` from any number of clients.
It takes the descriptors that a client lends it, so that bytes pass through no mailbox. Restarted by the
supervisor unless it ends by itself; the next incarnation begins the work again, and finds what is durable.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from actors import messages as m
from actors.call import Call, Later
from actors.inflight import InFlight
from actors.jobs import describe, rootfs
from actors.jobs.commit import CommitWish, commit
from actors.jobs.containerd import ContainerdWish, take
from actors.jobs.context import Context, converted
from actors.jobs.convert import ConvertWish, convert
from actors.jobs.load import LoadWish, load
from actors.jobs.save import SaveWish, save
from storage.errors import InvalidArgumentError

WORK: Final[Mapping[str, tuple[type[Any], Callable[[Context, Any], Any]]]] = {
    "load": (LoadWish, load),
    "containerd": (ContainerdWish, take),
    "save": (SaveWish, save),
    "convert": (ConvertWish, convert),
    "commit": (CommitWish, commit),
    "diff": (rootfs.DiffWish, rootfs.diff),
    "export": (rootfs.ExportWish, rootfs.export),
    "import": (rootfs.ImportWish, rootfs.import_root),
    "inspect": (describe.ImageWish, describe.inspect),
    "history": (describe.ImageWish, describe.history),
    "check": (describe.CheckWish, describe.check),
    "usage": (describe.ImageWish, describe.usage),
    "mount": (describe.MountWish, describe.prepare_mount),
}


class JobActor(InFlight):
    """One job."""

    kind = "job"

    def started(self) -> None:
        """Set to work."""
        self.about = self.birth.args["work"]
        self.begin_work()

    def perform(self) -> Any:
        """What the client wished for."""
        known = WORK.get(self.about)
        if known is None:
            raise InvalidArgumentError(f"no job does {self.about[:80]!r}: one of {', '.join(WORK)}")
        wish, work = known
        context = Context(self)
        context.unpacker.clear()
        return work(context, converted(wish, self.birth.args["args"]))

    def jobs_attach(self, _body: m.JobsAttach, call: Call) -> Later:
        """See the progress so far, what is to come, and the end."""
        return self.attach(call)
