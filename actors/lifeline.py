"""An actor's end of the control channel: heartbeats, questions to the zygote, and finding the next zygote.

The pump's thread is the channel's only reader and hands answers to whoever asked; any thread may say
something. An actor that outlives its zygote connects to the next one. Without a zygote nothing is lost:
what is said goes to nobody, how an orphan ended is "not known", and what is fetched is asked of the next one.
"""

import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable

from actors.linux.descriptors import close_all
from actors.linux.pidfd import Process
from actors.zygote.birth import Birth
from actors.zygote.control import Closed, Message
from actors.zygote.door import knock
from transport.pump import Pump

ANSWER_LIMIT = 2.0  # seconds that a question to the zygote may take
KNOCK_AGAIN, KNOCK_AGAIN_MAX = 0.2, 0.5  # seconds, doubled up to the last
ExitFound = Callable[[int | None, int], None]
Fetched = Callable[[list[int]], None]


class Lifeline:
    """One for each actor process.

    Attributes:
        on_ping: called in the pump's thread; has the mailbox thread answer.
        on_message: called in the pump's thread with every other message.
        on_new_zygote: called in the pump's thread when the next zygote has been found.
        alone: whether there is no zygote now.
    """

    def __init__(self, birth: Birth, pump: Pump) -> None:
        self.on_ping: Callable[[], None] = _nothing
        self.on_message: Callable[[Message], None] = _nothing
        self.on_new_zygote: Callable[[], None] = _nothing
        self.alone = False
        self._birth = birth
        self._control = birth.control
        self._pump = pump
        self._log = logging.getLogger(birth.name)
        self._questions: dict[Process, list[ExitFound]] = {}
        self._fetches: dict[str, deque[Fetched]] = {}
        self._pause = KNOCK_AGAIN

    def listen(self) -> None:
        """Begin to read. In the pump's thread, or before it runs."""
        self._pump.watch(self._control.fileno(), self._hear)

    # From any thread

    def say(self, given: Iterable[int] = (), **message: object) -> bool:
        """Say something to the zygote, with duplicates of these descriptors. False without one."""
        try:
            self._control.send_with(given, **message)
        except (Closed, OSError):
            self._log.debug("no zygote to hear %s", message.get("op"))
            return False
        return True

    def exit_of(self, target: Process, then: ExitFound) -> None:
        """How an orphan ended: `then` gets wait status (None: not known) and time, in the pump's thread."""
        self._pump.call(lambda: self._ask(target, then))

    def fetch(self, key: str, then: Fetched) -> None:
        """What the zygote keeps under `key`: `then` gets descriptors of its own, in the pump's thread."""
        self._pump.call(lambda: self._fetch(key, then))

    # The pump's thread

    def _fetch(self, key: str, then: Fetched) -> None:
        self._fetches.setdefault(key, deque()).append(then)
        self.say(op="fetch", key=key)

    def _fetched(self, key: str, found: list[int]) -> None:
        """Answers come in the order of the questions."""
        waiting = self._fetches.get(key)
        if not waiting:
            close_all(found)
            return
        then = waiting.popleft()
        if not waiting:
            del self._fetches[key]
        then(found)

    def _ask(self, target: Process, then: ExitFound) -> None:
        self._questions.setdefault(target, []).append(then)
        try:
            self._control.send(op="exit_of", pid=target.pid, start=target.start_time)
        except (Closed, OSError):
            self._answer(target, None, 0)
        else:
            self._pump.call_later(ANSWER_LIMIT, functools.partial(self._give_up, target, then))

    def _give_up(self, target: Process, then: ExitFound) -> None:
        if then in self._questions.get(target, ()):
            self._answer(target, None, 0)

    def _answer(self, target: Process, status: int | None, at: int) -> None:
        for then in self._questions.pop(target, ()):
            then(status, at)

    def _hear(self) -> None:
        try:
            message, given = self._control.receive_with()
        except (Closed, OSError):
            self._lose()
            return
        if message.get("op") == "kept":
            self._fetched(str(message.get("key")), given)
            return
        close_all(given)
        match message.get("op"):
            case "ping":
                self.on_ping()
            case "exit":
                target = Process(message["pid"], message["start"])
                self._answer(target, message["status"], message["at"])
            case "stranger":  # a new incarnation has our name; it waits for our lock
                self._log.error("the zygote does not know this process; ending")
                os._exit(1)
            case _:
                self.on_message(message)

    def _lose(self) -> None:
        """The zygote is gone: so are we, unless we are one that survives."""
        if not self._birth.survives:
            os._exit(1)
        self._pump.unwatch(self._control.fileno())
        self.alone = True
        for target in list(self._questions):
            self._answer(target, None, 0)
        self._pause = KNOCK_AGAIN
        self._pump.call_later(self._pause, self._knock)

    def _knock(self) -> None:
        try:
            knock(self._birth.settings.zygote_socket, self._control.fileno())
        except OSError:
            self._pause = min(2 * self._pause, KNOCK_AGAIN_MAX)
            self._pump.call_later(self._pause, self._knock)
        else:
            self.alone = False
            self.listen()
            for key, waiting in self._fetches.items():
                for _ in waiting:
                    self.say(op="fetch", key=key)
            self.on_new_zygote()


def _nothing(*_: object) -> None:
    """What happens while nobody wants to know."""
