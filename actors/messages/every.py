"""What every actor answers."""

from dataclasses import dataclass

from actors.messages.declare import ANY, operation


@operation("failpoints.set", ANY, repeatable=True)
@dataclass(frozen=True, slots=True)
class FailpointsSet:
    """Have something go wrong at a place in the code; `permission_denied` without --failpoints.

    It goes for the actor that is asked. The supervisor hands what is not its own to the zygote: it then
    goes for every process that is forked from now on.

    Attributes:
        name: the place, for example `metadata.containers.create.after`.
        action: off, error(CODE), delay(MS), hang, hang(GIL), kill, drop-reply, double-reply or
            clock(SECONDS); see actors/failpoints.py.
    """

    name: str
    action: str


@operation("metrics.figures", ANY, repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsFigures:
    """What the actor measures of itself since it began; answered however much it has to do.

    Answer: messages `waiting` in its mailbox, those `refused` since it was full, how long each waited
    (`waits`) and was worked on (`work`); and of its trade `counts` (name, label, number), `levels` by name,
    and `spans` by name. Times are `counts`, one for each bucket of transport/durations.py, and `seconds`.
    """


@operation("failpoints.list", ANY, repeatable=True)
@dataclass(frozen=True, slots=True)
class FailpointsList:
    """Answer: `points`, each with name, how often it was `passed`, and action. As `failpoints.set`."""
