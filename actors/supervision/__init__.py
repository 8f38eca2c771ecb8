"""Supervision to the depth of OTP, as a pure state machine: events in, effects out.

One `Tree` holds every logical supervisor of the daemon; every leaf is one operating-system process. The
supervisor actor feeds it what happened and carries out what it decides; docs/supervision.md shows how.
"""

from actors.supervision.effects import (
    CancelTimer,
    Dump,
    Effect,
    Exit,
    Kill,
    Reply,
    ReplyError,
    Report,
    Restore,
    SetTimer,
    Spawn,
    Terminate,
)
from actors.supervision.events import (
    Adopt,
    Boot,
    Call,
    Event,
    Exited,
    Hung,
    Ignored,
    RequestId,
    Shutdown,
    Slept,
    Spawned,
    Started,
    StartFailed,
    TimerFired,
    Woken,
)
from actors.supervision.growth import new_tree, retire
from actors.supervision.invariants import InvariantError, validate_state
from actors.supervision.nodes import Tree
from actors.supervision.reason import NORMAL, SHUTDOWN, ExitReason
from actors.supervision.spec import ChildSpec, InvalidSpecError, SupervisorFlags
from actors.supervision.tree import decide

__all__ = [
    "NORMAL",
    "SHUTDOWN",
    "Adopt",
    "Boot",
    "Call",
    "CancelTimer",
    "ChildSpec",
    "Dump",
    "Effect",
    "Event",
    "Exit",
    "ExitReason",
    "Exited",
    "Hung",
    "Ignored",
    "InvalidSpecError",
    "InvariantError",
    "Kill",
    "Reply",
    "ReplyError",
    "Report",
    "RequestId",
    "Restore",
    "SetTimer",
    "Shutdown",
    "Slept",
    "Spawn",
    "Spawned",
    "StartFailed",
    "Started",
    "SupervisorFlags",
    "Terminate",
    "TimerFired",
    "Tree",
    "Woken",
    "decide",
    "new_tree",
    "retire",
    "validate_state",
]
