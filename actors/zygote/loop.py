"""The zygote's loop: fork and kill on the supervisor's word, reap, pass on who ended and who hangs.

One selector over the control channels, the pidfds of adopted children, the door at which these register,
and a wake-up pipe for signals. Whatever comes in is small; nothing here waits for anything else, also not
for a child that does not read what it is told.
"""

import contextlib
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from actors import failpoints
from actors.linux import descriptors, pidfd, process
from actors.linux.pidfd import Process
from actors.settings import Settings
from actors.zygote.birth import Program
from actors.zygote.children import Child, Children
from actors.zygote.control import Closed, Control, Message
from actors.zygote.descriptor_store import DescriptorStore
from actors.zygote.door import Door
from actors.zygote.exits import Exits
from actors.zygote.forking import Forking
from actors.zygote.handover import handover
from actors.zygote.heartbeat import Heartbeats
from actors.zygote.keeper import Keeper, Shelves
from actors.zygote.respawn import STOP_LIMIT, Due, Respawn
from actors.zygote.signals import Signals
from actors.zygote.sleepers import Sleepers
from actors.zygote.spares import Spares
from actors.zygote.strangers import Strangers

SUPERVISOR = "supervisor"
ROUND_MAX = 5.0  # seconds between two rounds of heartbeats, and of word to systemd, at most
QUEUE = 4 << 20  # bytes that may wait for the supervisor
log = logging.getLogger("zygote")


class Zygote:
    """State and loop of the process that everything is forked from."""

    def __init__(
        self,
        settings: Settings,
        programs: Mapping[str, Program],
        instance: str,
        on_up: Callable[[], None],
        on_round: Callable[[], None],
    ) -> None:
        """Take over what an earlier zygote left.

        `on_up` is called when the whole tree has started, `on_round` every few seconds.
        """
        self._settings = settings
        self._on_up = on_up
        self._on_round = on_round
        self._heartbeats = Heartbeats(settings.supervision_hang_after)
        self._round_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._reserve = descriptors.Reserve()
        self._shut: Door | None = None
        self._exits = Exits(settings.exits)
        self._children = Children(settings.state / "children")
        self._forking = Forking(settings, programs, instance)
        self._spares = Spares(self._forking.spare)
        kept: Shelves = {}
        self._keeper = Keeper(settings.keeper_socket, self._selector, self._forking.keeper, kept)
        self._store = DescriptorStore(kept, self._keeper)
        self._strangers = Strangers(
            settings.watched, self._selector, self._exits, self._keeper, kept, self._reserve
        )
        self._sleepers = Sleepers(self._selector, self._stirred)
        self._since = time.time()
        self._respawn = Respawn()
        self._signals = Signals()
        self._done = False

    def run(self) -> None:
        """Serve until stopped by SIGTERM, SIGINT or SIGHUP. Running containers and their actors stay."""
        process.set_child_subreaper()
        self._signals.listen(self._selector)
        for child in self._children.survivors():
            self._adopt(child)
        self._keeper.find()
        self._strangers.find()
        self._watch_door(Door(self._settings.zygote_socket))
        self._start_supervisor()
        while not self._done:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            if self._signals.child_exited:
                self._reap()
            self._check_time()
        self._spares.end()
        self._signals.close()
        self._reserve.close()
        log.info("stopped; %d container actors live on", len(self._children.by_pid))

    # Children

    def _spawn(self, name: str, kind: str, args: dict[str, Any], *, survives: bool, **more: Any) -> None:
        """`more`: its trace, and what it alone is told."""
        if name in self._children.by_name:
            log.error("%s is running already, not started again", name)
            return
        inc = self._children.incarnations.get(name, 0) + 1
        who: dict[str, Any] = {"name": name, "inc": inc, "args": args, **more}
        try:
            failpoints.hit("zygote", "spawn", "before")
            new = self._spares.take(time.monotonic()) if survives else self._forking.child(kind, who)
        except OSError as error:
            self._children.incarnations[name] = inc
            if name == SUPERVISOR:
                log.error("the supervisor cannot be forked, it is tried again: %s", error)  # noqa: TRY400
                self._supervisor_ended(None)
                return
            self._tell(ev="exited", name=name, inc=inc, pid=0, status=None, reason=f"cannot fork: {error}")
            return
        failpoints.hit("zygote", "spawn", "forked")
        self._sleepers.take(name)
        with self._reserve.lent():
            child = Child(name, inc, kind, args, survives, Process.of(new.pid), since=time.time())
            self._children.add(child)
        self._heartbeats.born(new.pid, time.monotonic(), many=survives)
        if name == SUPERVISOR:
            descriptors.enlarge_queue(new.control.socket, QUEUE)
        self._connect(child, new.control)
        failpoints.hit("zygote", "spawn", "recorded")
        if survives:
            self._send(new.control, op="go", measure=self._spares.curious, **who)
        failpoints.hit("zygote", "spawn", "after")
        if name != SUPERVISOR:
            self._tell(ev="spawned", name=name, inc=inc, pid=new.pid, first=child.first)

    def _connect(self, child: Child, control: Control) -> None:
        control.socket.setblocking(False)
        child.control = control
        self._selector.register(control.socket, selectors.EVENT_READ, lambda: self._hear(child))

    def _adopt(self, child: Child) -> None:
        child.ready = True  # it has been at work since before this zygote
        log.info("adopted %s, pid %d", child.name, child.process.pid)
        self._children.add(child)
        self._heartbeats.born(child.process.pid, time.monotonic(), many=True)
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._adopted_ended(child))

    def _watch_door(self, door: Door) -> None:
        self._shut = None
        self._selector.register(door.socket, selectors.EVENT_READ, lambda: self._admit(door))

    def _admit(self, door: Door) -> None:
        """One that an earlier zygote forked has found us.

        Without a descriptor for it we look away for a while: the selector would say so for ever.
        """
        try:
            knocked = door.accept()
        except OSError as error:
            log.error("nobody can be let in for now: %s", error)  # noqa: TRY400
            self._selector.unregister(door.socket)
            self._shut = door
            return
        if knocked is None:
            return
        pid, control = knocked
        child = self._children.by_pid.get(pid)
        if child is None or child.pidfd < 0 or pidfd.has_exited(child.pidfd):
            log.error("process %d is not in the table of children; it is told to end", pid)
            self._send(control, op="stranger")
            control.close()
            return
        self._hang_up(child)
        self._connect(child, control)
        self._heartbeats.listens(pid)

    def _adopted_ended(self, child: Child) -> None:
        self._selector.unregister(child.pidfd)
        self._ended(child, pidfd.exit_status(child.pidfd))

    def _reap(self) -> None:
        """Take in every child that has exited: our own, and the orphans that came to us as subreaper."""
        self._signals.child_exited = False
        while (found := process.peek_children()) is not None:
            pid, status = found
            child = self._children.by_pid.get(pid)
            if child is None and (self._spares.ended(pid) or self._keeper.ended(pid)):
                process.reap(pid)
                continue
            if child is None:
                failpoints.hit("zygote", "exit", "before")
                with self._reserve.lent():
                    self._exits.keep(Process.of(pid), status)
                failpoints.hit("zygote", "exit", "kept")
                process.reap(pid)
                failpoints.hit("zygote", "exit", "after")
                continue
            process.reap(pid)
            if child.pidfd < 0:
                self._ended(child, status)

    def _ended(self, child: Child, status: int | None) -> None:
        if child.control is not None:
            self._drain(child)
            self._hang_up(child)
        if self._children.remove(child):
            self._heartbeats.gone(child.process.pid)
        if child.survives:
            self._spares.idle(time.monotonic())
        in_order = status in (0, None)  # the end of an adopted one may not be known
        asleep = child.wakers is not None and in_order
        if status == 0 and not asleep:  # it will not be back for them
            self._clear(child.name)
        else:  # what it watched is our child now, and a stranger's when we go
            self._watch(child)
        log.log(
            logging.INFO if status == 0 else logging.WARNING,
            "%s (pid %d) ended with status %s %s",
            child.name,
            child.process.pid,
            status,
            child.reason,
        )
        if child.name == SUPERVISOR:
            self._supervisor_ended(status)
        else:
            fields = {"name": child.name, "inc": child.inc, "pid": child.process.pid}
            fields |= {"asleep": asleep, "watched": bool(child.wakers)}
            self._tell(ev="exited", **fields, status=status, reason=child.reason)
        if asleep:
            self._lay_down(child)

    def _lay_down(self, child: Child) -> None:
        """It comes back when one of its wakers can be read; at once, when one is missing."""
        failpoints.hit("zygote", "sleep", "before")
        self._children.slept(child)
        self._sleepers.add(child, self._store.wakers(child.name, child.wakers or ()))
        failpoints.hit("zygote", "sleep", "after")

    def _stirred(self, name: str) -> None:
        self._tell(ev="stirred", name=name)

    def _drain(self, child: Child) -> None:
        """What it said before it ended still counts."""
        try:
            while child.control is not None:
                self._hear_one(child, child.control)
        except (Closed, BlockingIOError):
            return

    def _hang_up(self, child: Child) -> None:
        if child.control is not None:
            self._selector.unregister(child.control.socket)
            child.control.close()
            child.control = None

    # What children say

    def _hear(self, child: Child) -> None:
        if child.control is None:
            return
        try:
            self._hear_one(child, child.control)
        except BlockingIOError:
            return
        except Closed:
            self._hang_up(child)

    def _hear_one(self, child: Child, control: Control) -> None:
        """Take one message; one that makes no sense is no reason to end. Raises Closed, BlockingIOError."""
        try:
            message, received = control.receive_with()
            self._store.heed(child.name, child.control, message, received)
            self._strangers.heed(child, message)
            self._obey(child, message)
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s sent a control message that makes no sense: %s", child.name, error)  # noqa: TRY400

    def _obey(self, child: Child, message: Message) -> None:
        match message["op"]:
            case "ready":
                child.ready = True
                self._heartbeats.listens(child.process.pid)
                self._tell(ev="ready", name=child.name, inc=child.inc, pid=child.process.pid)
            case "pong":
                self._heartbeats.answered(child.process.pid)
            case "busy":
                self._heartbeats.busy(child.process.pid, time.monotonic() + float(message["seconds"]))
            case "last_words":
                child.reason = str(message["reason"])
            case "wrote":
                self._spares.learn(message["pages"])
            case "exit_of":
                self._answer_exit(child, Process(message["pid"], message["start"]))
            case "exit_taken":
                self._exits.forget(Process(message["pid"], message["start"]))
            case "sleep" if message["keys"] is None:
                child.wakers = None
                self._store.take_back(child.name)
            case "sleep":
                child.wakers = [str(key) for key in message["keys"]]
                held = self._store.lend(child.name)
                if child.control is not None:
                    self._send(child.control, op="sleep", held=held)
            case order if child.name == SUPERVISOR:
                self._obey_supervisor(child, order, message)

    def _obey_supervisor(self, child: Child, order: str, message: Message) -> None:
        match order:
            case "spawn":
                how = {key: message[key] for key in ("trace", "told") if key in message}
                survives = bool(message["survives"])
                self._spawn(message["name"], message["kind"], message["args"], survives=survives, **how)
            case "kill":
                target = self._children.by_name.get(message["name"])
                if target is not None and target.inc == message["inc"]:
                    self._kill(target, message["signal"])
            case "children":
                self._heartbeats.listens(child.process.pid)  # ready only once there is a router
                self._tell_children(child)
            case "forget" if message["name"] not in self._children.by_name:
                self._sleepers.take(message["name"])
                self._clear(message["name"])
                self._children.forget(message["name"])
            case "failpoint" if failpoints.active is not None:
                action = failpoints.parse_action(message["action"])
                failpoints.active.set(message["name"], action, shared=True)
                self._spares.dismiss(time.monotonic())  # they do not know of it
            case "up":
                self._respawn.up()
                self._spares.begin(time.monotonic())
                self._say_up()

    def _say_up(self) -> None:
        """Without room for what clients read they have what was written before: no reason to end."""
        try:
            self._on_up()
        except OSError as error:
            log.error("it is up, and cannot say so: %s", error)  # noqa: TRY400

    @staticmethod
    def _kill(child: Child, number: int) -> None:
        """Our own is there until it is reaped here; an adopted one may go, and its pid be another's."""
        with contextlib.suppress(ProcessLookupError):
            if child.pidfd >= 0:
                pidfd.send_signal(child.pidfd, number)
            else:
                os.kill(child.process.pid, number)

    def _watch(self, child: Child) -> None:
        for key in self._store.keys(child.name):
            self._strangers.watch(child, key)

    def _clear(self, name: str) -> None:
        """It will not be back for what it had us keep, nor for how what it watched ends."""
        for key in self._store.clear(name):
            self._strangers.drop(key)

    def _answer_exit(self, child: Child, wanted: Process) -> None:
        self._reap()
        self._strangers.hear()
        status, at = self._exits.find(wanted) or (None, 0)
        if child.control is not None:
            fields = {"pid": wanted.pid, "start": wanted.start_time, "status": status, "at": at}
            self._send(child.control, op="exit", **fields)

    def _send(self, control: Control, **message: Any) -> bool:
        """False when there is no room; nobody waits for one that does not read."""
        try:
            control.send(**message)
        except BlockingIOError:
            return False
        except (Closed, OSError):
            return True  # it has ended, or is about to
        return True

    # Heartbeats

    def _round(self) -> None:
        """Ask whoever is due, pass on who has not answered in time."""
        now = time.monotonic()
        self._round_at = now + min(ROUND_MAX, self._heartbeats.interval)
        asked, hanging = self._heartbeats.round(now)
        for pid in asked:
            control = self._children.by_pid[pid].control
            if control is not None:
                self._send(control, op="ping")
        for pid in hanging:
            self._hangs(self._children.by_pid[pid])
        self._keeper.look()
        self._strangers.look()
        if self._shut is not None:
            self._watch_door(self._shut)
        self._on_round()

    def _hangs(self, child: Child) -> None:
        log.error("%s (pid %d) hangs", child.name, child.process.pid)
        if child.name != SUPERVISOR:
            self._tell(ev="hung", name=child.name, inc=child.inc)
        elif self._respawn.hangs(time.monotonic()):
            os.kill(child.process.pid, signal.SIGUSR1)

    # The supervisor

    def _tell(self, **event: Any) -> None:
        """To the supervisor; while there is none nothing is lost: its successor asks for the children."""
        supervisor = self._children.by_name.get(SUPERVISOR)
        if supervisor is None or supervisor.control is None:
            return
        if not self._send(supervisor.control, **event):
            log.error("the supervisor does not listen to what it is told; it is killed")
            self._kill_supervisor()

    def _tell_children(self, supervisor: Child) -> None:
        living = [child for child in self._children.by_pid.values() if child is not supervisor]
        for event in handover(living, self._sleepers.asleep.values(), self._children.incarnations):
            self._tell(**event)

    def _kill_supervisor(self) -> None:
        supervisor = self._children.by_name.get(SUPERVISOR)
        if supervisor is not None:
            os.kill(supervisor.process.pid, signal.SIGKILL)

    def _start_supervisor(self) -> None:
        self._respawn.started()
        self._spawn(SUPERVISOR, SUPERVISOR, {"zygote_since": self._since}, survives=False)
        if self._respawn.stop_by:
            self._tell(ev="shutdown")

    def _supervisor_ended(self, status: int | None) -> None:
        self._done = self._respawn.ended(status, time.monotonic()) or self._done

    # Time

    def _timeout(self) -> float:
        times = (self._round_at, self._spares.due, *self._respawn.moments)
        return max(0.0, min(at for at in times if at) - time.monotonic()) if any(times) else 0.0

    def _check_time(self) -> None:
        now = time.monotonic()
        if self._signals.stop_wanted and not self._respawn.stop_by:
            self._respawn.stop(now)
            self._tell(ev="shutdown")
        for due in self._respawn.due(now):
            match due:
                case Due.GIVE_UP:
                    self._give_up()
                case Due.START:
                    self._start_supervisor()
                case Due.KILL:
                    self._kill_supervisor()
        if now >= self._round_at:
            self._round()
        self._spares.look(now)

    def _give_up(self) -> None:
        """A stop that does not come to its end."""
        log.error("the stop took longer than %d s; what is left is killed", STOP_LIMIT)
        for child in self._children.by_pid.values():
            if not child.survives:
                os.kill(child.process.pid, signal.SIGKILL)
        self._done = True
