"""Which work a transfer's arguments ask for."""

from collections.abc import Callable, Mapping
from typing import Any

from actors.transfers.pull import Pull
from actors.transfers.push import Copy, Push
from actors.transfers.questions import Questions
from actors.transfers.transfer import Transfer
from storage.reference import Reference
from transport.errors import RemoteError


def task(transfer: Transfer, args: Mapping[str, Any]) -> Callable[[], Any]:
    """What to run in a worker thread, from the arguments that the supervisor started the actor with.

    Raises:
        StorageError, RemoteError: they make no sense.
    """
    name = args.get("task", "pull")
    platform, everything = args.get("platform", ""), bool(args.get("all_platforms"))
    if name == "catalogue":
        questions = Questions(transfer, args["reference"])
        return questions.catalogue
    if name == "login":
        return Questions(transfer, args["reference"]).login
    reference = Reference.parse(args["reference"])
    target = Reference.parse(args["target"]) if args.get("target") else reference
    match name:
        case "pull":
            snapshotter, node = args.get("snapshotter", ""), args.get("node", "")
            return Pull(transfer, reference, platform, snapshotter, all_platforms=everything, node=node).run
        case "push":
            return Push(transfer, reference, target, platform, chunk=args.get("chunk", 0)).run
        case "copy":
            return Copy(transfer, reference, target, platform).run
        case "tags" | "describe" | "referrers" | "delete":
            run: Callable[[], Any] = getattr(Questions(transfer, reference.domain, reference), name)
            return run
        case _:
            raise RemoteError("invalid_argument", f"there is no transfer of kind {name!r}")
