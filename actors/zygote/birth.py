"""What a forked child does before it is an actor, and what it is given."""

import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from actors import failpoints, log_records
from actors.linux import process
from actors.linux.footprint import Footprint, Range, make_own
from actors.settings import Settings
from actors.zygote.control import Closed, Control


@dataclass(frozen=True, slots=True)
class Birth:
    """All that a new actor process knows.

    Attributes:
        name: full name, for example `container/default/web`.
        inc: incarnation, growing with each start under this name.
        kind: which program it runs (see actors/tree.py).
        args: what the child spec hands it.
        survives: whether it lives on when the zygote ends.
        footprint: what it writes to; none unless it is to tell that.
        instance: names this run of the daemon (a UUID).
        trace: whose request started it (actors/tracing.py); empty for nobody's.
        told: what this incarnation alone is told, by who had it started.
    """

    name: str
    inc: int
    kind: str
    settings: Settings
    control: Control
    instance: str
    args: Mapping[str, Any] = field(default_factory=dict)
    survives: bool = False
    footprint: Footprint | None = None
    trace: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where the router finds this incarnation."""
        return f"{self.name}/{self.inc}"


Program = Callable[[Birth], None]


def begin(birth: Birth, program: Program, zygote: int, pages: Sequence[Range] = ()) -> NoReturn:
    """Turn the forked process into an actor and run it to its end. Called in the child, never returns.

    `pages` are what it is likely to write to; there is time for that while it waits for its name.

    os.fork is used as it is: measured, multiprocessing's bootstrap makes 0.7 MB more of each child's memory
    private, and its bookkeeping wants to be the only one to wait for children.

    The exit code is 0 for a normal end and 1 after an exception, whose text goes to the zygote as the
    child's last words.
    """
    code = 1
    try:
        _cut_ties(birth, zygote)
        make_own(pages)
        if birth.survives:
            birth = _named(birth)
        process.set_name(birth.name.rpartition("/")[2] if birth.kind == "container" else birth.name)
        failpoints.begin(birth.address)
        log_records.identify(birth.name, birth.inc)
        program(birth)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # the last place where it can be told
        _last_words(birth, f"{type(error).__name__}: {error}")
        logging.getLogger(birth.name).exception("crashed")
    finally:
        _leave(code)


def _leave(code: int) -> NoReturn:
    """Whatever becomes of the output: a child that returned from here would go on as a second zygote."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _cut_ties(birth: Birth, zygote: int) -> None:
    """Own session, default signals, no descriptor of the zygote but the control channel."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    process.close_descriptors_except([0, 1, 2, birth.control.fileno()])
    if birth.survives:
        process.set_child_subreaper()
    else:
        process.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != zygote:  # it died before the line above took effect
            os._exit(1)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # asked for when we seem to hang
    # What the zygote has left to its collector holds numbers of descriptors that are ours to give anew: a
    # socket of its that were finalised here would close a database or a rootfs.
    gc.freeze()
    gc.enable()


def _named(birth: Birth) -> Birth:
    """Who it is, it may be told only now, having been forked in advance.

    One that the next zygote could not find in its table of children must never begin.
    """
    process.set_name(f"spare {birth.kind}")
    try:
        message = birth.control.receive()
    except Closed:
        os._exit(1)
    told = {key: message[key] for key in ("name", "inc", "args", "trace", "told") if key in message}
    return replace(birth, **told, footprint=Footprint() if message.get("measure") else None)


def _last_words(birth: Birth, reason: str) -> None:
    try:
        birth.control.send(op="last_words", reason=reason[:1000])
    except (Closed, OSError):
        return  # the zygote will report the bare exit status
