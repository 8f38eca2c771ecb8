"""The router's decisions: who is meant, who still waits for an answer. No socket, no clock.

Requests go to names; answers go back to the address stamped into the request. The switch remembers each
request that it passed on until its final answer came by, so that the death of an actor is answered at
once and every request ends exactly once (docs/protocol.md, "Requests"). All of this is soft state: after
a restart of the router the actors announce themselves again and clients repeat what they may.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from transport.envelope import EMPTY, MAX_NAME, Envelope, answer, failure, note
from transport.errors import CODES, ProtocolError, RemoteError
from transport.outstanding import Key, Outstanding, Waiting
from transport.traffic import FINISHED, Traffic

ROUTER, SUPERVISOR, NODES = "router", "supervisor", "nodes"
HOME: Final = frozenset({"container", "puller", "job"})
"""How names of this host begin that have a slash; all others of that kind are of other nodes: `node/name`."""
MAX_OUTSTANDING_PER_PEER = 4096
MAX_OUTSTANDING_PER_KEY = 4 * MAX_OUTSTANDING_PER_PEER  # of all connections with one key
MAX_DEADLINE = 7 * 24 * 3600 * 1000  # milliseconds; a poller cannot wait for what a header can carry
GRACE_AFTER_START = (
    30.0  # seconds in which an unknown name may still be expected, unless all are known before
)
GRACE_AFTER_DEADLINE = 0.25  # seconds: the one who was asked should be the first to say that it is late

STILL_HEARD = 0.5  # seconds in which what an actor said before it ended in order may come in yet
PROBE_EVERY = 2.0  # seconds between two looks whether clients that wait are still there

Send = tuple[str, Envelope]  # address, message


@dataclass(slots=True)
class Switch:
    """State of the router.

    Attributes:
        welcome: what a HELLO is answered with.
        names: incarnation that is connected under each name.
        expected: names that the supervisor keeps alive: unknown for a moment is not the same as unknown.
        told: whether the supervisor has named all that it keeps alive; until then, any name may be one.
        asleep: names to be woken by a request, which the supervisor is told of.
        counters: what came by, for the metrics.
        traffic: the requests that were passed on, for the metrics.
        outstanding: those of them that have not been answered.
    """

    started: float
    welcome: dict[str, object]
    names: dict[str, int] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    told: bool = False
    asleep: set[str] = field(default_factory=set)
    counters: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    traffic: Traffic = field(default_factory=Traffic)
    outstanding: Outstanding = field(default_factory=Outstanding)
    _ends: deque[tuple[float, str, int]] = field(default_factory=deque)
    _probe_at: float = 0.0

    def receive(self, peer: str, message: Envelope, now: float) -> list[Send]:
        """What to send for a message of `peer` (its address)."""
        self.counters[f"received_{message.type}"] += 1
        stamped = message.forwarded(peer)
        match message.type:
            case "REQ":
                return self._request(stamped, now)
            case "FIN" | "ERR":
                return self._final(stamped, now)
            case "PART" | "EVT":
                return [(message.to, stamped)] if (message.to, message.re) in self.outstanding else []
            case "CANCEL" | "CREDIT":
                return self._concerning(stamped)
            case "NOTE":
                return self._note(stamped, now)
            case "HELLO":
                return self._hello(peer, stamped)
            case "PING":
                return [(peer, Envelope("PONG", re=message.id))]
            case _:
                return []

    def _request(self, message: Envelope, now: float) -> list[Send]:
        target, message = self._target(message)
        if target == ROUTER:
            return [(message.fr, self._own(message))]
        refused = self._refusal(message, target, now)
        if refused is not None:
            self.traffic.ended(message.op, refused.code, None)
            return [(message.fr, failure(message, refused)), *self._wake(target)]
        inc = self.names[target]
        asked = replace(message, body=EMPTY, buffers=())  # it may be large, and wait for as long as it likes
        limit = min(message.deadline, MAX_DEADLINE) / 1000
        due = now + limit + GRACE_AFTER_DEADLINE if message.deadline else 0.0
        self.outstanding.add(Waiting(asked, target, inc, now, due))
        return [(f"{target}/{inc}", message)]

    def _target(self, message: Envelope) -> tuple[str, Envelope]:
        """The actor of this host that is to have it: of `node/name`, the one that passes it on."""
        node, slash, name = message.to.partition("/")
        if not slash or node in HOME:
            return message.to, message
        if node == self.welcome.get("node"):
            return name, replace(message, to=name)
        return NODES, message

    def _refusal(self, message: Envelope, target: str, now: float) -> RemoteError | None:
        return self._unfit(message) or self._unreached(message, target, now)

    def _unfit(self, message: Envelope) -> RemoteError | None:
        """Why no actor should get it, whoever is meant."""
        if len(message.fr) > MAX_NAME:  # nobody could read the request, and so nobody would answer it
            return RemoteError("invalid_argument", "a routing id that is too long: leave it empty")
        if not message.id or (message.fr, message.id) in self.outstanding:
            return RemoteError("invalid_argument", "a request needs an id of its own")
        if self.outstanding.per_peer.get(message.fr, 0) >= MAX_OUTSTANDING_PER_PEER:
            return RemoteError("overloaded", f"more than {MAX_OUTSTANDING_PER_PEER} requests wait already")
        if self.outstanding.per_key.get(message.by, 0) >= MAX_OUTSTANDING_PER_KEY:
            text = f"more than {MAX_OUTSTANDING_PER_KEY} requests with this key wait already"
            return RemoteError("overloaded", text)
        return None

    def _unreached(self, message: Envelope, target: str, now: float) -> RemoteError | None:
        """Why who is meant cannot be reached."""
        if _is_far(target) or (target != message.to and _is_far(message.to.partition("/")[2])):
            return RemoteError("invalid_argument", f"{message.to} names more than one node: ask the last one")
        inc = self.names.get(target)
        if inc is None:
            guessing = not self.told and now - self.started < GRACE_AFTER_START
            starting = target in self.expected or target in self.asleep or guessing
            code = "unavailable" if starting else "not_found"
            text = f"actor {target} is starting" if starting else f"no actor is named {target}"
            return RemoteError(code, text, actor=target)
        if target == message.to and message.inc not in (0, inc):
            return RemoteError(
                "unavailable",
                f"incarnation {message.inc} of {message.to} has ended",
                actor=message.to,
            )
        return None

    def _wake(self, name: str) -> list[Send]:
        """Whoever asks does so again until it is there: word that is lost on the way is given once more."""
        supervisor = self.names.get(SUPERVISOR)
        if name not in self.asleep or name in self.names or not supervisor:
            return []
        wanted = note(SUPERVISOR, "router.wanted", {"name": name}).forwarded(ROUTER)
        return [(f"{SUPERVISOR}/{supervisor}", wanted)]

    def _leave(self, peer: str) -> bool:
        """An actor goes to sleep, unless somebody waits for it: nothing is sent to it any more."""
        name, _, inc = peer.rpartition("/")
        if not inc.isdecimal() or self.names.get(name) != int(inc) or name in self.outstanding.by_target:
            return False
        del self.names[name]
        self.asleep.add(name)
        return True

    def _own(self, message: Envelope) -> Envelope:
        if message.op == "router.peers":
            return answer(message, {"names": dict(self.names), "counters": dict(self.counters)})
        if message.op == "router.traffic":
            waiting = {to: len(keys) for to, keys in self.outstanding.by_target.items()}
            return answer(
                message,
                {**self.traffic.to_dict(), "waiting": _by_kind(waiting), "counters": dict(self.counters)},
            )
        if message.op == "router.ping":
            return answer(message, {})
        if message.op == "router.leave":
            return answer(message, {"left": self._leave(message.fr)})
        return failure(message, RemoteError("not_implemented", f"the router has no operation {message.op}"))

    def _final(self, message: Envelope, now: float) -> list[Send]:
        key, body = (message.to, message.re), {} if message.type == "FIN" else _body(message)
        waiting = self.outstanding.get(key)
        if not self._forget(key, FINISHED if message.type == "FIN" else _code(body), now):
            self.counters["late_answers"] += 1
            return []
        if waiting and waiting.asked.to != waiting.target and _is_of_the_way(body):
            message = replace(message, fr="")
        return [(message.to, message)]

    def _concerning(self, message: Envelope) -> list[Send]:
        waiting = self.outstanding.get((message.fr, message.re))
        return [(f"{waiting.target}/{waiting.inc}", message)] if waiting else []

    def _note(self, message: Envelope, now: float) -> list[Send]:
        if message.to != ROUTER:
            inc = self.names.get(message.to)
            return [(f"{message.to}/{inc}", message)] if inc else []
        if not message.fr.startswith("supervisor/"):
            return []
        fields = message.value()
        if not isinstance(fields, dict):
            raise ProtocolError("the body of a note to the router is not a map")
        match message.op:
            case "router.down":
                return self._ended(
                    str(fields["name"]), int(fields["inc"]), now if fields.get("in_order") else None
                )
            case "router.ended":
                for name, ended in fields["ends"].items():
                    self._ended(str(name), int(ended), now)
            case "router.expect":
                if fields.get("all"):
                    self.told = True
                    self.expected.clear()
                self.expected.update(map(str, fields["names"]))
                self.asleep.update(map(str, fields.get("asleep", ())))
            case "router.forget":
                self.expected.discard(str(fields["name"]))
                self.asleep.discard(str(fields["name"]))
        return []

    def _hello(self, peer: str, message: Envelope) -> list[Send]:
        """An actor announces itself by its address `name/incarnation`; clients just learn who we are."""
        sends: list[Send] = []
        name, _, inc = peer.rpartition("/")
        if name and inc.isdecimal():
            known = self.names.get(name, 0)
            if int(inc) < known:
                return []
            if known and int(inc) > known:
                sends += self.down(name, known)
            self.names[name] = int(inc)
            self.asleep.discard(name)
        return [*sends, (peer, Envelope("WELCOME", re=message.id, body=answer(message, self.welcome).body))]

    def _ended(self, name: str, inc: int, in_order_at: float | None) -> list[Send]:
        """Word of an end may overtake the last answers, which come over another connection."""
        if in_order_at is None:
            return self.down(name, inc)
        if self.names.get(name) == inc:
            del self.names[name]
        self._ends.append((in_order_at + STILL_HEARD, name, inc))
        return []

    def down(self, name: str, inc: int) -> list[Send]:
        """An incarnation has ended: whoever waits for it is told, and new requests are refused."""
        if self.names.get(name) == inc:
            del self.names[name]
        sends: list[Send] = []
        for key, waiting in self.outstanding.of_target(name):
            if waiting.inc == inc and self._forget(key, "unavailable"):
                far = "" if waiting.asked.to == name else f", by which {waiting.asked.to} is reached"
                text = f"actor {name} ended{far}"
                error = RemoteError("unavailable", text, outcome="unknown", actor=name)
                sends.append((key[0], failure(waiting.asked, error)))
        return sends

    def unreachable(self, address: str, message: Envelope) -> list[Send]:
        """A send failed because nobody is connected at `address`."""
        self.counters["unreachable"] += 1
        if message.type == "REQ" and self._forget((message.fr, message.id), "unavailable"):
            name = address.rpartition("/")[0]
            error = RemoteError("unavailable", f"actor {name} is not connected", actor=name)
            return [(message.fr, failure(message, error))]
        if message.type in ("PART", "EVT"):
            return self._abandon((message.to, message.re))
        if message.type == "PONG":
            return [send for key in self.outstanding.of_peer(address) for send in self._abandon(key)]
        return []

    def _abandon(self, key: Key) -> list[Send]:
        """A client has gone away in the middle of an answer: tell the one who answers."""
        waiting = self.outstanding.get(key)
        if waiting is None or not self._forget(key, "abandoned"):
            return []
        return [_cancel(key, waiting)]

    def full(self, address: str, message: Envelope) -> list[Send]:
        """A send failed because the queue to `address` is full."""
        self.counters["full"] += 1
        if message.type == "REQ" and self._forget((message.fr, message.id), "overloaded"):
            error = RemoteError("overloaded", f"{address} has too many messages waiting", actor=address)
            return [(message.fr, failure(message, error))]
        if message.type in ("PART", "EVT"):
            return self._cut_off((message.to, message.re))
        return []

    def _cut_off(self, key: Key) -> list[Send]:
        """A client does not read what it asked for: no stream with a hole in it, and none without an end."""
        waiting = self.outstanding.get(key)
        sends = self._abandon(key)
        if waiting is not None and sends:
            text = f"{waiting.asked.op}: too much waits to be read; ask for the rest"
            error = RemoteError("overloaded", text, outcome="unknown", actor=waiting.target)
            sends.append((key[0], failure(waiting.asked, error)))
        return sends

    def expire(self, now: float) -> tuple[list[Send], float | None]:
        """Answer what is over its deadline, and take it from who has it.

        Also returns when to come back, None for never.
        """
        sends: list[Send] = []
        while self._ends and self._ends[0][0] <= now:
            _, name, inc = self._ends.popleft()
            sends += self.down(name, inc)
        for key in self.outstanding.overdue(now):
            waiting = self._forget(key, "deadline_exceeded")
            if waiting:
                text = f"{waiting.asked.op}: no answer from {waiting.asked.to} in {waiting.asked.deadline} ms"
                error = RemoteError("deadline_exceeded", text, outcome="unknown", actor=waiting.target)
                sends += [(key[0], failure(waiting.asked, error)), _cancel(key, waiting)]
        later = (self.outstanding.next_due, self._ends[0][0] if self._ends else None)
        return sends, min((at for at in later if at is not None), default=None)

    def probe(self, now: float) -> tuple[list[Send], float | None]:
        """Say something to each client that waits, now and then; also returns when to come back.

        ZeroMQ tells of a client that is gone only when something is sent to it: what follows a container
        that is silent would otherwise be held open for ever by whoever answers.
        """
        if not self.outstanding.has_clients:
            self._probe_at = now + PROBE_EVERY
            return [], None
        if now < self._probe_at:
            return [], self._probe_at
        self._probe_at = now + PROBE_EVERY
        return [(peer, Envelope("PONG")) for peer in self.outstanding.clients()], self._probe_at

    def _forget(self, key: Key, outcome: str, now: float | None = None) -> Waiting | None:
        """A request has ended, None if it had before; `now` is the time of an answer of whom it was for."""
        waiting = self.outstanding.forget(key)
        if waiting is not None:
            self.traffic.ended(waiting.asked.op, outcome, None if now is None else now - waiting.since)
        return waiting


def _cancel(key: Key, waiting: Waiting) -> Send:
    """Nobody waits any more for what this actor has been asked."""
    return f"{waiting.target}/{waiting.inc}", Envelope("CANCEL", re=key[1], fr=key[0])


def _is_far(name: str) -> bool:
    node, slash, _ = name.partition("/")
    return bool(slash) and node not in HOME


def _by_kind(waiting: dict[str, int]) -> dict[str, int]:
    """Of `container/default/3f2a...` the kind."""
    found: Counter[str] = Counter()
    for name, number in waiting.items():
        found[name.partition("/")[0]] += number
    return dict(found)


def _body(message: Envelope) -> dict[str, object]:
    """Of an error that passes; it is not this door's to refuse one that makes no sense."""
    try:
        body = message.value()
    except ProtocolError:
        return {}
    return body if isinstance(body, dict) else {}


def _code(body: dict[str, object]) -> str:
    code = body.get("code")
    return code if isinstance(code, str) and code in CODES else "internal"


def _is_of_the_way(body: dict[str, object]) -> bool:
    """Whether an error is of the link to another node, or of its router: no actor's own answer."""
    details = body.get("details")
    return isinstance(details, dict) and "node" in details
