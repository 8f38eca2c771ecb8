"""What `create` and `run` have in common: their options, and the request made from them."""

from __future__ import annotations

from cli import networking, streams
from cli.limits import LIMITS, limits
from cli.log_options import LOGGING, logging
from cli.mounting import MOUNTS, mounts
from cli.options import LABEL, PLATFORM, Given, Option, UsageError
from cli.privileges import PRIVILEGES, privileges
from cli.session import RefusedError
from cli.supervising import SUPERVISION, supervision
from transport.bare import is_set, random_id, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Self

    from cli.session import Session
else:
    import _signal as signal  # as cli/forwarding.py

ENDING = (signal.SIGTERM, signal.SIGHUP)  # besides Ctrl-C, which raises KeyboardInterrupt anyway
_MEANT = ("no_new_privileges", "oom_score_adj", "stop_timeout")  # said only when given: then 0 counts too
ATTEMPTS = 5  # times that whoever creates it may die meanwhile
ENVIRONMENT = Option("-e --env", "a variable to set; without =V, to its value here", value="K[=V]", many=True)
ENV_FILE = Option("--env-file", "variables to set: K=V or K in each line of a file", value="FILE", many=True)
OPTIONS = (
    Option("--name", "name of the container (its id)", value="NAME"),
    Option("--rm", "remove the container when it has exited"),
    Option("--cidfile", "write its id into this file, which must not be there yet", value="FILE"),
    ENVIRONMENT,
    ENV_FILE,
    Option("-w --workdir", "directory in the container to start in (the image's, or /)", value="DIR"),
    Option("-u --user", "user: name or id, or either with :GROUP (the image's, or root)", value="USER"),
    Option("--hostname", "host name in the container (the beginning of its id)", value="HOST"),
    Option(
        "--entrypoint", "program to run before COMMAND, instead of the image's; '' for none", value="PROGRAM"
    ),
    LABEL,
    Option("--read-only", "let it write to volumes and tmpfs only, not to its root"),
    Option("--bundle", "run this OCI bundle as it is; no IMAGE and COMMAND then", value="DIR"),
    Option("--runtime", "OCI runtime: runc or crun (the daemon's: runc)", value="NAME"),
    *streams.STREAMS,
    *LIMITS,
    *MOUNTS,
    *PRIVILEGES,
    *SUPERVISION,
    *LOGGING,
    Option(
        "--snapshotter",
        "what its root is made with: overlayfs or native (the daemon's: overlayfs)",
        value="NAME",
    ),
    PLATFORM,
    Option(
        "--pull",
        "when to fetch the image: always, missing or never (missing)",
        value="WHEN",
        choices=("always", "missing", "never"),
    ),
    *networking.OPTIONS,
)


def digest_of(session: Session, given: Given, image: str) -> tuple[str, str]:
    """The whole name and the digest of an image, fetched first where that is wanted. Raises RefusedError."""
    if given.text("pull") == "always" or not (session.find_image(image) or given.text("pull") == "never"):
        _pull(session, given, image)
    found = session.ask("metadata", "images.get", {"namespace": session.namespace, "name": image})
    return str(found["name"]), str(found["target"]["digest"])


def request_body(session: Session, given: Given, wanted: str) -> dict[str, Any]:
    """The body of `containers.create`. Raises UsageError, OSError.

    The id is chosen here, so that a request of unknown outcome can be looked up instead of being feared.
    """
    return {
        "namespace": session.namespace,
        "image": given.arguments[0] if given.arguments else "",  # whether that is right, `bundle` says
        "id": random_id(32).hex(),
        "name": given.text("name"),
        "options": {**options(given, attached=wanted == "running"), **network(session, given)},
        "labels": given.pairs("label"),
        "runtime": given.text("runtime"),
        "wanted": wanted,
        "auto_remove": given.flag("rm"),
        "snapshotter": given.text("snapshotter"),
    }


def options(given: Given, *, attached: bool = False) -> dict[str, Any]:
    """How it is to be run; what was not said is left out. `attached`: we shall be its terminal.

    Raises:
        UsageError, OSError: what was given makes no sense, or a file cannot be read.
    """
    found: dict[str, Any] = {
        "args": given.arguments[1:],
        "env": environment(given),
        "cwd": given.text("workdir"),
        "user": given.text("user"),
        "hostname": given.text("hostname"),
        "readonly": given.flag("read-only"),
        "platform": given.text("platform"),
        "bundle": bundle(given),
        **streams.wanted(given, attached=attached),
        **limits(given),
        **mounts(given),
        **privileges(given),
        **supervision(given),
        **logging(given),
    }
    found = {key: value for key, value in found.items() if value or key in _MEANT}
    if given.flag("entrypoint"):  # an empty one means: none
        found["entrypoint"] = [given.text("entrypoint")] if given.text("entrypoint") else []
    return found


def network(session: Session, given: Given) -> dict[str, Any]:
    """How it is to be connected, if anything was said. Raises UsageError, RefusedError."""
    found = networking.wish(session, given)
    return {"network": found} if found else {}


def bundle(given: Given) -> str:
    """The directory of a raw OCI bundle, which leaves nothing to be asked for besides. Raises UsageError."""
    if not given.text("bundle"):
        if not given.arguments:
            raise UsageError("an image is wanted, or --bundle DIR")
        return ""
    if given.arguments:
        raise UsageError("with --bundle, what to run stands in its config.json: give no image and no command")
    from os.path import abspath

    return abspath(given.text("bundle"))  # noqa: PTH100  # pathlib is 4 ms


def environment(given: Given) -> list[str]:
    """The variables of files, then those of options. Raises UsageError, OSError."""
    found: list[str] = []
    for path in given.many("env-file"):
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib is 4 ms
            lines = [line.strip() for line in file]
        found += _assignments([line for line in lines if line and not line.startswith("#")])
    return found + _assignments(given.many("env"))


def _assignments(entries: list[str]) -> list[str]:
    found = []
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if not name:
            raise UsageError(f"a variable is K=V or K, not {entry!r}")
        if equals:
            found.append(entry)
        elif is_set(name):
            found.append(f"{name}={variable(name)}")
    return found


def create(session: Session, given: Given, body: dict[str, Any]) -> dict[str, Any]:
    """Create it, fetching the image first where that is wanted. Returns id, name and actor.

    Raises:
        RefusedError: the daemon or the registry refuses.
    """
    if not given.text("cidfile"):
        return _create_with_image(session, given, body)
    from cli.cidfile import written

    with written(given.text("cidfile"), body["id"]):
        return _create_with_image(session, given, body)


def _create_with_image(session: Session, given: Given, body: dict[str, Any]) -> dict[str, Any]:
    when = given.text("pull", "missing")
    if when == "always":
        _pull(session, given, body["image"])
    try:
        return _create(session, body)
    except RefusedError as error:
        if when != "missing" or error.code != "not_found" or session.find_image(body["image"]):
            raise
    _pull(session, given, body["image"])
    return _create(session, body)


def _create(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    """A request that may have been done is looked up by its id, and sent again only if it was not."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return session.ask_once("metadata", "containers.create", body)
        except RefusedError as error:
            if error.error.outcome != "unknown" or not error.error.retryable:
                raise
            found = session.find_container(body["id"], retired=True)
            if found is None and not left:
                raise
        if found is not None:
            return _with_actor(session, found)
    raise AssertionError("the last attempt returns or raises")


def _with_actor(session: Session, record: dict[str, Any]) -> dict[str, Any]:
    """Whoever recorded it may have died before it had the actor started; one that runs is no error."""
    args = {key: record[key] for key in ("namespace", "id", "created_at")}
    session.ask("supervisor", "children.start", {"kind": "container", "name": record["actor"], "args": args})
    return record


class Unknown:
    """While it is entered, nobody has been told of what is being begun: a signal then leaves nothing behind.

    It would go on under an id that its user has never seen; or, once its signals are its own, as long as none
    could be delivered, since it is only just being started.
    """

    def __init__(self, session: Session, take_back: Callable[[Session], None]) -> None:
        """`take_back` undoes it, if it has come to that: the request may only just have been begun."""
        self._session = session
        self._take_back = take_back
        self._told = False
        self._insisted = 0
        self._before: dict[int, Any] = {}

    def told(self) -> None:
        """From now on it is known, by its id or since our signals are its own."""
        self._told = True

    def __enter__(self) -> Self:
        """Ask for it. A signal that is to be ignored (nohup) still is."""
        for number in ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:
                self._before[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        """Take it back, if we are interrupted. That comes in the middle of anything: see Forwarding."""
        try:
            if kind is not None and issubclass(kind, KeyboardInterrupt) and self._is_to_go(error):
                self._undo()
        finally:
            for number, before in self._before.items():
                signal.signal(number, before)

    def _is_to_go(self, error: BaseException | None) -> bool:
        from cli.forwarding import NothingRunsError

        return not self._told or isinstance(error, NothingRunsError)

    def _undo(self) -> None:
        """Who presses Ctrl-C twice is told what we are at; the third time, we leave it."""
        before = signal.signal(signal.SIGINT, self._insist)
        for number in self._before:
            signal.signal(number, self._insist)
        other = self._session.another()
        try:
            self._take_back(other)
        finally:
            other.close()
            signal.signal(signal.SIGINT, before)

    def _insist(self, number: int, _frame: FrameType | None) -> None:
        from cli.complaint import complain

        self._insisted += 1
        if self._insisted > 1:
            complain("left as it is; see actr ps -a")
            _interrupt(number, None)
        complain("taking back what was begun; once more to leave it")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    from cli.forwarding import SignalledError

    raise SignalledError(number)


def unknown_container(session: Session, body: dict[str, Any]) -> Unknown:
    """For one that `body` asks for."""
    return Unknown(session, lambda other: _take_back(other, body["id"]))


def _take_back(session: Session, identity: str) -> None:
    from cli.complaint import complain
    from cli.rm import remove_container
    from transport.client import NotRunningError

    try:
        found = session.find_container(identity, retired=True)
        if found is not None:
            _with_actor(session, found)
            remove_container(session, identity, force=True)
    except (RefusedError, NotRunningError) as error:
        if not isinstance(error, RefusedError) or error.code != "not_found":  # it was gone first
            complain(f"{identity[:12]} may be left behind: {error}")


def _pull(session: Session, given: Given, image: str) -> None:
    from cli.pull import pull

    pull(session, image, platform=given.text("platform"), snapshotter=given.text("snapshotter"))
