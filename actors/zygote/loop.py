"""The zygote's loop: fork and kill on the supervisor's word, reap, pass on who ended.

One selector over the control channels, the pidfds of adopted children and a wake-up pipe for signals.
Whatever comes in is small; nothing here waits for anything else.
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from actors.linux import descriptors, pidfd, process
from actors.linux.pidfd import Process
from actors.settings import Settings
from actors.zygote.birth import Birth, Program, begin
from actors.zygote.children import Child, Children
from actors.zygote.control import Closed, Message, pair
from actors.zygote.exits import Exits

SUPERVISOR = "supervisor"
RESPAWN_LIMIT = 5.0  # seconds between two starts of a supervisor that dies at once
STOP_LIMIT = 30.0  # seconds that an orderly stop may take
log = logging.getLogger("zygote")


class Zygote:
    """State and loop of the process that everything is forked from."""

    def __init__(
        self,
        settings: Settings,
        programs: Mapping[str, Program],
        instance: str,
        on_up: Callable[[], None],
    ) -> None:
        """Take over what an earlier zygote left; `on_up` is called when the whole tree has started."""
        self._settings = settings
        self._programs = programs
        self._instance = instance
        self._on_up = on_up
        self._selector = selectors.DefaultSelector()
        self._exits = Exits(settings.state / "exits")
        self._children = Children(settings.state / "children")
        self._kept: dict[tuple[str, str], list[int]] = {}
        self._since = time.time()
        self._stop_by = 0.0
        self._respawn_at = 0.0
        self._respawn_delay = 0.0
        self._stop_wanted = False
        self._done = False

    def run(self) -> None:
        """Serve until stopped by SIGTERM or SIGINT. Running containers and their actors stay."""
        process.set_child_subreaper()
        wakeup = self._listen_for_signals()
        for child in self._children.survivors():
            self._adopt(child)
        self._respawn()
        while not self._done:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._reap()
            self._check_time()
        wakeup.close()
        log.info("stopped; %d container actors live on", len(self._children.by_pid))

    # Signals and sockets

    def _listen_for_signals(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._want_stop())
        self._selector.register(ours, selectors.EVENT_READ, lambda: ours.recv(4096))
        self._wakeup_end = theirs
        return ours

    # Children

    def _spawn(self, name: str, kind: str, args: dict[str, Any], *, survives: bool) -> None:
        if name in self._children.by_name:
            log.error("%s is running already, not started again", name)
            return
        inc = self._children.incarnations.get(name, 0) + 1
        ours, theirs = pair()
        birth = Birth(name, inc, kind, self._settings, theirs, self._instance, args, survives)
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._children.incarnations[name] = inc
            self._tell(ev="exited", name=name, inc=inc, pid=0, status=None, reason=f"cannot fork: {error}")
            return
        if pid == 0:
            begin(birth, self._programs[kind], zygote)
        theirs.close()
        child = Child(name, inc, kind, args, survives, Process.of(pid), ours, since=time.time())
        self._children.add(child)
        self._selector.register(ours.socket, selectors.EVENT_READ, lambda: self._hear(child))
        self._tell(ev="spawned", name=name, inc=inc, pid=pid)

    def _adopt(self, child: Child) -> None:
        child.ready = True  # it has been at work since before this zygote
        log.info("adopted %s, pid %d", child.name, child.process.pid)
        self._children.add(child)
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._adopted_ended(child))

    def _adopted_ended(self, child: Child) -> None:
        self._selector.unregister(child.pidfd)
        self._ended(child, pidfd.exit_status(child.pidfd))

    def _reap(self) -> None:
        """Take in every child that has exited: our own, and the orphans that came to us as subreaper."""
        while (found := process.peek_children()) is not None:
            pid, status = found
            child = self._children.by_pid.get(pid)
            if child is None:
                self._exits.keep(Process.of(pid), status)
                process.reap(pid)
                continue
            process.reap(pid)
            if child.pidfd < 0:
                self._ended(child, status)

    def _ended(self, child: Child, status: int | None) -> None:
        if child.control is not None:
            self._drain(child)
            self._hang_up(child)
        self._children.remove(child)
        if status == 0:  # it will not be back for them
            self._clear_shelves(child.name)
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
            self._tell(ev="exited", **fields, status=status, reason=child.reason)

    def _drain(self, child: Child) -> None:
        """What it said before it ended still counts."""
        control = child.control
        if control is None:
            return
        control.socket.setblocking(False)
        try:
            while True:
                message, received = control.receive_with()
                self._keep(child, message, received)
                self._obey(child, message)
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
            message, received = child.control.receive_with()
            self._keep(child, message, received)
            self._obey(child, message)
        except Closed:
            self._hang_up(child)
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s sent a control message that makes no sense: %s", child.name, error)  # noqa: TRY400

    def _keep(self, child: Child, message: Message, received: list[int]) -> None:
        """The descriptor store: what is in a FIFO outlives the actor that reads it."""
        shelf = (child.name, str(message.get("key", "")))
        if message["op"] in ("keep", "drop"):
            descriptors.close_all(self._kept.pop(shelf, ()))
        if message["op"] == "keep":
            self._kept[shelf] = received
        else:
            descriptors.close_all(received)

    def _clear_shelves(self, name: str) -> None:
        for shelf in [shelf for shelf in self._kept if shelf[0] == name]:
            descriptors.close_all(self._kept.pop(shelf))

    def _obey(self, child: Child, message: Message) -> None:
        match message["op"]:
            case "ready":
                child.ready = True
                self._tell(ev="ready", name=child.name, inc=child.inc, pid=child.process.pid)
            case "last_words":
                child.reason = str(message["reason"])
            case "exit_of":
                self._answer_exit(child, Process(message["pid"], message["start"]))
            case "exit_taken":
                self._exits.forget(Process(message["pid"], message["start"]))
            case order if child.name == SUPERVISOR:
                self._obey_supervisor(child, order, message)

    def _obey_supervisor(self, child: Child, order: str, message: Message) -> None:
        match order:
            case "spawn":
                survives = bool(message["survives"])
                self._spawn(message["name"], message["kind"], message["args"], survives=survives)
            case "kill":
                target = self._children.by_name.get(message["name"])
                if target is not None and target.inc == message["inc"] and target.process.exists():
                    os.kill(target.process.pid, message["signal"])
            case "children":
                others = [other.to_dict() for other in self._children.by_pid.values() if other is not child]
                self._tell(ev="children", children=others, incarnations=self._children.incarnations)
            case "up":
                self._respawn_delay = 0.0
                self._on_up()

    def _answer_exit(self, child: Child, wanted: Process) -> None:
        self._reap()
        status, at = self._exits.find(wanted) or (None, 0)
        if child.control is not None:
            child.control.send(status=status, at=at)

    # The supervisor

    def _tell(self, **event: Any) -> None:
        """To the supervisor; while there is none nothing is lost: its successor asks for the children."""
        supervisor = self._children.by_name.get(SUPERVISOR)
        if supervisor is None or supervisor.control is None:
            return
        try:
            supervisor.control.send(**event)
        except Closed:
            return

    def _respawn(self) -> None:
        self._respawn_at = 0.0
        self._spawn(SUPERVISOR, SUPERVISOR, {"zygote_since": self._since}, survives=False)
        if self._stop_by:
            self._tell(ev="shutdown")

    def _supervisor_ended(self, status: int | None) -> None:
        if self._stop_by and status == 0:
            self._done = True
            return
        self._respawn_at = time.monotonic() + self._respawn_delay
        self._respawn_delay = min(RESPAWN_LIMIT, max(0.1, self._respawn_delay * 2))

    def _want_stop(self) -> None:
        """In a signal's handler: only leave word, the loop is woken by the wake-up pipe."""
        self._stop_wanted = True

    def _begin_stop(self) -> None:
        self._stop_by = time.monotonic() + STOP_LIMIT
        self._tell(ev="shutdown")

    def _timeout(self) -> float | None:
        waits = [at - time.monotonic() for at in (self._stop_by, self._respawn_at) if at]
        return max(0.0, min(waits)) if waits else None

    def _check_time(self) -> None:
        now = time.monotonic()
        if self._stop_wanted and not self._stop_by:
            self._begin_stop()
        if self._stop_by and now >= self._stop_by:
            log.error("the stop took longer than %d s; what is left is killed", STOP_LIMIT)
            for child in self._children.by_pid.values():
                if not child.survives:
                    os.kill(child.process.pid, signal.SIGKILL)
            self._done = True
        elif self._respawn_at and now >= self._respawn_at:
            self._respawn()
