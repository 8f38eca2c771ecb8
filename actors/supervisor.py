"""Supervisor: keeps the tree of actors/tree.py alive. The decisions are those of actors/supervision.

States: the supervision tree, in memory. Hears from the zygote who was forked, is ready or has ended; has it
fork and kill. After its own crash the zygote starts it again and tells it who lives: those are adopted, and
whatever is missing is started; the containers that should have an actor come from metadata. Also answers
what the daemon is and which actors there are.
"""

import os
import random
import signal
import time
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from actors import failpoints, introspection, wishes
from actors import messages as m
from actors import supervision as s
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.introspection import Tallies
from actors.releasing import Releasing
from actors.restoring import Restoring
from actors.roster import Roster, Sleeper, exit_reason, kind_of, process_row
from actors.tracing import current
from actors.watching import FarWatches, Watches
from actors.wishes import CONTAINERS, HOMES
from actors.zygote.control import Message
from transport.envelope import Envelope
from transport.errors import RemoteError

START_AGAIN = 0.02  # seconds until it is looked whether an earlier container of the same id has ended
WAKE_LIMIT = 10.0  # seconds in which those who sleep are woken before a stop
WAKE_LOOK = 0.05  # seconds between two looks whether they are awake
_REFUSALS = {
    "not_found": "not_found",
    "invalid_argument": "invalid_argument",
    "unavailable": "unavailable",
    "restarting": "unavailable",
    "start_failed": "unavailable",
}
"""Codes of the tree's, and what those who asked are told; of all others: there is something to do first."""
_SIGNALS = {s.Terminate: signal.SIGTERM, s.Kill: signal.SIGKILL, s.Dump: signal.SIGUSR1}


class SupervisorActor(Actor):
    """Performs what the supervision tree decides."""

    kind = "supervisor"

    def started(self) -> None:
        """Listen to the zygote; its list of children makes the tree boot."""
        from actors.tree import SURVIVORS, TREE  # noqa: PLC0415  # the tree names this class

        self._survivors = SURVIVORS
        self._tree = s.new_tree(TREE, random.Random().random)  # noqa: S311  # jitter, not a secret
        self._roster = Roster()
        self._static = {name for name, node in self._tree.nodes.items() if node.spec.type == "worker"}
        self._asked: dict[int, tuple[Call, m.ChildrenStart | None]] = {}
        self._told: dict[str, dict[str, Any]] = {}  # to whom the call that is being decided spawns
        self._serial = 0
        self._stop_by = 0.0
        self._stop_wanted = self._stopping = False
        self._up = False
        self._since = time.time()
        self._incarnations: dict[str, int] = {}
        self._watches = Watches(self._running)
        self._far_watches = FarWatches(self)
        self._tallies = Tallies()
        self._restoring = Restoring(self, self._start_container, partial(self._introduce, "router"))
        self._releasing = Releasing(self)
        self.host.say(op="children")

    def stopping(self) -> None:
        """SIGTERM goes to the zygote; here it means the same."""
        self._shutdown()

    # From the zygote

    def told(self, message: Message) -> None:
        """What has happened to processes."""
        event = message
        match event["ev"]:
            case "adopt":
                self._adopt(event)
            case "incarnations":
                self._incarnations.update(event["incarnations"])
            case "children":
                self._boot()
            case "spawned":
                self._note_process(event, ready=False)
                self._decide(s.Spawned(event["name"], event["pid"], event["inc"]))
            case "ready":
                self._note_process(event, ready=True)
                self._decide(s.Started(event["name"], event["pid"], event["inc"]))
                self._introduce(event["name"])
                self._say_up()
            case "hung":
                self._decide(s.Hung(event["name"], event["inc"]))
            case "exited":
                self._exited(event)
            case "stirred":
                self._wake(event["name"])
            case "shutdown":
                self._shutdown()

    def _adopt(self, event: Message) -> None:
        for child in event["children"]:
            self._roster.adopt(child)
            if known := self._roster.running.get(child["name"]):
                self._watches.goes_on(child["name"], known.first, known.incarnation)
            spec = s.ChildSpec(id=child["name"], kind=child["kind"], args=child["args"], restart="transient")
            home = HOMES.get(child["kind"], "root")
            self._decide(s.Adopt(home, spec, child["pid"], child["inc"]))

    def _boot(self) -> None:
        self._tell_of_ends()
        self._decide(s.Boot(self._incarnations))
        for name in self._incarnations:
            self._retire(name)
        self._incarnations.clear()
        if "router" in self._roster.running:
            self._introduce("router")
        self._say_up()
        self._releasing.look(self._known)
        if self._stop_wanted:
            self._shutdown()

    def _tell_of_ends(self) -> None:
        """Of those who ended while there was no supervisor, or one that died before it had passed that on."""
        known = self._incarnations.items()
        ends = {name: inc for name, inc in known if inc != self._roster.number(name)[0]}
        ends.pop(self.kind, None)
        if ends:
            self.tell("router", "router.ended", {"ends": ends})

    def _note_process(self, event: Message, *, ready: bool) -> None:
        if found := self._roster.note(event, ready=ready):
            self._watches.goes_on(event["name"], found.first, found.incarnation)

    def _exited(self, event: Message) -> None:
        name, inc = event["name"], event["inc"]
        known = self._roster.ended(name, inc)
        reason = exit_reason(event)
        self.tell("router", "router.down", {"name": name, "inc": inc, "in_order": reason.kind == "normal"})
        if event.get("asleep"):
            self._fell_asleep(event, known.first if known else inc)
        else:
            self._ended(event, reason)
        if name not in self._roster.asleep:
            self._watches.ended(name, inc, reason)
        has_gone = name not in self._tree.nodes and name not in self._roster.asleep
        if has_gone and not self._stopping and not self._returns(name, reason):
            self._gone(name)
            self._releasing.ended(name, inc)

    def _ended(self, event: Message, reason: s.ExitReason) -> None:
        name, inc = event["name"], event["inc"]
        node = self._tree.nodes.get(name)
        self._tallies.ended(name, reason, hung=bool(node and node.hung))
        if event["pid"]:
            self._decide(s.Exited(name, event["pid"], inc, reason))
        else:
            self._decide(s.StartFailed(name, inc, reason))

    def _gone(self, name: str) -> None:
        self.tell("router", "router.forget", {"name": name})
        self._retire(name)

    def _fell_asleep(self, event: Message, first: int) -> None:
        """Unless it is about to be stopped: then it has ended."""
        name = event["name"]
        failpoints.hit("supervisor", "asleep", "before")
        self._roster.doze(name)
        self._decide(s.Slept(name, event["pid"], event["inc"]))
        if self._sleeps(name):
            self._roster.asleep[name] = Sleeper(event["inc"], first, event["watched"])
            self.tell("router", "router.expect", {"names": [name], "asleep": [name]})
        failpoints.hit("supervisor", "asleep", "after")

    def _sleeps(self, name: str) -> bool:
        """Also one that this supervisor, which has only just followed another, is still to claim."""
        unclaimed = self._tree.adopted.get(name)
        return self._phase(name) == "asleep" or (unclaimed is not None and not unclaimed.pid)

    def _wake(self, name: str) -> None:
        failpoints.hit("supervisor", "wake", "before")
        self._decide(s.Woken(name))
        if name not in self._tree.nodes:  # told of by the zygote, and not claimed yet
            self._roster.asleep.pop(name, None)

    def _phase(self, name: str) -> str:
        child = self._tree.nodes.get(name)
        return child.phase.value if child else ""

    def noted(self, message: Envelope) -> None:
        """The router has a request for one that sleeps."""
        if (message.fr, message.op) == ("router", "router.wanted"):
            self._wake(str(message.value()["name"]))

    def _returns(self, name: str, reason: s.ExitReason) -> bool:
        """Whether it will be back though the tree does not know it.

        The actor of a container on record always is, unless it ended in order: one that died before this
        supervisor had claimed it, or while it was started, is brought back with the record.
        """
        return kind_of(name) == "container" and reason.abnormal

    def _retire(self, name: str) -> None:
        """The zygote hears of it on the way that a later fork of the same name takes: both count anew."""
        for oldest in self._roster.retire(name):
            if s.retire(self._tree, oldest):
                self.host.say(op="forget", name=oldest)

    def _running(self, name: str) -> tuple[int, int]:
        """The incarnation that runs or sleeps, 0 for none, and the one that it goes on with."""
        if name == self.kind:
            return self.birth.inc, self.birth.inc
        return self._roster.number(name)

    def _known(self) -> set[str]:
        """Also who is still to be claimed."""
        return self._tree.nodes.keys() | self._tree.adopted.keys()

    def _shutdown(self) -> None:
        """First whoever sleeps over a process is woken: it copies and watches while there is no daemon.

        One that has followed another during a stop hears of that before it knows whom to stop.
        """
        if not self._stop_by and self._tree.booted:
            self._stop_by = time.monotonic() + WAKE_LIMIT
            self._stop_when_awake(set())
        self._stop_wanted = True

    def _stop_when_awake(self, woken: set[str]) -> None:
        asleep = {name for name, one in self._roster.asleep.items() if one.watches}
        for name in asleep:
            self._wake(name)
        woken |= asleep
        if any(map(self._is_waking, woken)) and time.monotonic() < self._stop_by:
            self.later(WAKE_LOOK, lambda: self._stop_when_awake(woken))
            return
        self._stopping = True
        self._decide(s.Shutdown())

    def _is_waking(self, name: str) -> bool:
        """Also one that had not been claimed: it is started with the others on record."""
        phase = self._phase(name)
        return phase in ("asleep", "starting", "restarting") or not (phase or self._restoring.done)

    # To the zygote and everybody else

    def _decide(self, event: s.Event) -> None:
        for effect in s.decide(self._tree, event, time.monotonic()):
            self._perform_effect(effect)

    def _perform_effect(self, effect: s.Effect) -> None:
        match effect:
            case s.Spawn():
                self._spawn(effect)
            case s.Terminate() | s.Kill() | s.Dump():
                self._signal(effect)
            case s.SetTimer():
                key = effect.key
                self.later(max(0.0, effect.at - time.monotonic()), lambda: self._decide(s.TimerFired(key)))
            case s.Reply() | s.ReplyError():
                self._answer(effect)
            case s.Report():
                self._report(effect)
            case s.Restore() if effect.supervisor == CONTAINERS:
                self._restoring.begin()
            case s.Exit():
                self.finish(0 if self._stopping else 1)

    def _spawn(self, effect: s.Spawn) -> None:
        spec = effect.spec
        failpoints.hit("supervisor", "spawn", "before")
        self.tell("router", "router.expect", {"names": [effect.name]})
        how: dict[str, Any] = {"survives": spec.kind in self._survivors, "trace": current.get().carried()}
        how |= {"told": self._told[effect.name]} if effect.name in self._told else {}
        self.host.say(op="spawn", name=effect.name, kind=spec.kind, args=dict(spec.args), **how)

    def _signal(self, effect: s.Terminate | s.Kill | s.Dump) -> None:
        known = self._roster.running.get(effect.name)
        if known is None:
            return
        number = _SIGNALS[type(effect)]
        if self._stopping and known.kind in self._survivors:
            # It decides by itself whether its container still needs it; for the tree it has ended.
            self.host.say(op="kill", name=effect.name, inc=known.incarnation, signal=signal.SIGTERM)
            left = s.Exited(effect.name, effect.pid, known.incarnation, s.SHUTDOWN)
            self.soon(lambda: self._decide(left))
            return
        self.host.say(op="kill", name=effect.name, inc=known.incarnation, signal=number)

    def _introduce(self, name: str) -> None:
        """A new router learns which names are only on their way."""
        if name == "router":
            expected = {
                "names": list(self._tree.nodes),
                "all": self._restoring.done,
                "asleep": list(self._roster.asleep),
            }
            self.tell("router", "router.expect", expected)

    def _say_up(self) -> None:
        """Once everything of the static tree is ready."""
        if not self._up and all(self._roster.is_ready(name) for name in self._static):
            self._up = True
            self.host.say(op="up")

    def _start_container(self, name: str, args: dict[str, Any]) -> None:
        """One that is on record, for nobody who waits for it."""
        self._serial += 1
        start = {"supervisor": CONTAINERS, "id": name, "args": args}
        self._decide(s.Call(self._serial, "start_child", start))

    def _report(self, effect: s.Report) -> None:
        self._tallies.report(effect.kind)
        if effect.kind == "progress":
            self.log.debug("%s: %s is up (%s)", effect.supervisor, effect.child, effect.context)
            return
        self.log.warning(
            "%s: %s of %s during %s: %s",
            effect.supervisor, effect.kind, effect.child, effect.context, effect.reason,
        )  # fmt: skip
        body = {
            "supervisor": effect.supervisor,
            "child": effect.child,
            "context": effect.context,
            "reason": effect.reason.to_dict() if effect.reason else {},
        }
        key = f"{effect.child}:{effect.kind}:{time.time_ns()}"
        event = m.EventsPublish("actord", f"/actors/{effect.kind}", key, body, time.time_ns())
        self.ask(event, _ignore)

    # Operations

    def children_start(self, body: m.ChildrenStart, call: Call) -> Later:
        """Start a dynamic child, or find it started."""
        home = wishes.checked(body)
        self._serial += 1
        self._asked[self._serial] = (call, body)
        arguments = {"supervisor": home, "id": body.name, "args": body.args}
        self._told = {body.name: body.told} if body.told else {}
        self._decide(s.Call(self._serial, "start_child", arguments))
        self._told = {}
        return LATER

    def images_pull(self, body: m.ImagesPull, call: Call) -> Later:
        """A transfer like any other."""
        return self.transfers_start(m.TransfersStart(task="pull", **asdict(body)), call)

    def transfers_start(self, body: m.TransfersStart, call: Call) -> Later:
        """One puller for each wish, however many have it."""
        return self.children_start(wishes.transfer(body), call)

    def jobs_start(self, body: m.JobsStart, call: Call) -> Later:
        """One actor for each id."""
        return self.children_start(wishes.job(body), call)

    def actors_watch(self, body: m.ActorsWatch, call: Call) -> Later:
        """Tell of its end, once; of an actor of another node, that node's supervisor does."""
        if not self._far_watches.add(body, call):
            self._watches.add(body, call)
        return LATER

    def cancelled(self, call: Call) -> None:
        """A watch of an actor of another node ends there, too."""
        self._far_watches.end(call)
        super().cancelled(call)

    def supervision_call(self, body: m.SupervisionCall, call: Call) -> Later:
        """As the tree answers it."""
        self._serial += 1
        self._asked[self._serial] = (call, None)
        self._decide(s.Call(self._serial, body.operation, {**body.args, "supervisor": body.supervisor}))
        terminated = self._roster.asleep.keys() - self._tree.nodes.keys()
        for name in terminated:  # without an end of a process
            del self._roster.asleep[name]
            self._gone(name)
        return LATER

    def failpoints_set(self, body: m.FailpointsSet, call: Call) -> None:
        """One of ours; any other goes for the zygote and whoever it forks from now on."""
        if body.name.startswith("supervisor.") or not failpoints.is_name(body.name):  # which is refused
            super().failpoints_set(body, call)
        else:
            self.points()
            self.host.say(op="failpoint", name=body.name, action=str(self.parsed(body.action)))

    def _answer(self, effect: s.Reply | s.ReplyError) -> None:
        call, start = self._asked.pop(int(effect.request), (None, None))
        failed = isinstance(effect, s.ReplyError) and effect.code == "start_failed"
        if failed and (call is None or (start and start.kind == "container")):  # on record: it has to come
            self._restoring.again()
        if call is None:
            return
        if isinstance(effect, s.Reply):
            call.reply({"actor": start.name} if start else {"result": effect.result})
        elif start is not None and effect.code == "already_started":
            self._found_started(start, call)
        else:
            call.fail(RemoteError(_REFUSALS.get(effect.code, "failed_precondition"), effect.text))

    def _found_started(self, start: m.ChildrenStart, call: Call) -> None:
        """Who runs under the name may be on its way out, of an earlier container: its end is waited for.

        Whoever does not say which one is meant takes the one that runs.
        """
        found, meant = self._tree.nodes.get(start.name), start.args.get("created_at")
        if start.kind != "container" or found is None or meant in (None, found.spec.args.get("created_at")):
            call.reply({"actor": start.name})
        elif call.open:
            self._wake(start.name)  # to find out that it was removed
            self.later(START_AGAIN, lambda: self._start_again(start, call))

    def _start_again(self, start: m.ChildrenStart, call: Call) -> None:
        """Without what was told: somebody may have asked anew meanwhile, and this be the second to start."""
        self.children_start(replace(start, told={}), call)

    def introspection_version(self, _body: m.Version, _: Call) -> dict[str, Any]:
        """What this daemon is."""
        return introspection.version(self.settings, self.birth)

    def introspection_info(self, _body: m.Info, _: Call) -> dict[str, Any]:
        """What this daemon works with."""
        return introspection.info(self.settings, self.birth, self._tree, self._roster)

    def introspection_actors(self, body: m.Actors, call: Call) -> Later:
        """The tree with what the kernel says of each process; reading that takes a thread's time."""
        own = self.birth
        rows = [
            process_row("zygote", "zygote", "running", os.getppid(), 1, 0, own.args["zygote_since"]),
            process_row(self.kind, self.kind, "running", os.getpid(), own.inc, own.inc - 1, self._since),
        ]
        rows += [
            self._roster.row(name, child.spec.kind, child.incarnation, child.phase.value)
            for name, child in self._tree.nodes.items()
            if child.spec.type != "supervisor"
        ]
        told = self._tallies.told()
        measured = introspection.with_memory if body.memory else list
        self.work(lambda: {"actors": measured(rows), **told}, call.settle)
        return LATER


def _ignore(_result: Any) -> None:
    """An event that could not be told is in the log."""
