"""What every kind of transfer works with: the registries, the store, the actor that speaks for it.

A transfer is cancelled from the actor's thread; its own threads find out at their next step, between two
chunks at the latest, and leave what can be resumed.
"""

import concurrent.futures
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors import __version__
from actors.inflight import AbandonedError, Progress
from actors.tracing import current
from actors.transfers.tally import Tally
from storage.content import ContentStore
from storage.content.disk import reported
from storage.reference import Reference
from transport.registry.client import RegistryClient
from transport.registry.credentials import Credentials, DockerConfig, GivenLogin, Login
from transport.registry.hosts import Hosts
from transport.registry.retry import persist
from transport.registry.throttle import SharedAccount, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.puller import PullerActor

TELL_LIMIT = 2.0  # seconds; as long as an actor lingers when its work is done


class Transfer:
    """One transfer, for the namespace of its actor.

    Attributes:
        actor: speaks for it.
        store: the content store, to read; the content actor owns it.
        client: asks registries, with the logins that came with the request before the daemon's own.
        tally: what it has moved, for the metrics.
    """

    def __init__(self, actor: "PullerActor", logins: Mapping[str, Login]) -> None:
        settings = actor.settings
        self.actor = actor
        self._stop = threading.Event()
        self.settings = settings
        self.name: str = actor.birth.name
        self.namespace: str = actor.birth.args["namespace"]
        self.store = ContentStore(settings.content, reader=True)
        self.tally = Tally(
            actor.birth.args.get("task", "pull"), lambda note: actor.ask(note, _unheard, limit=TELL_LIMIT)
        )
        common = SharedAccount(settings.state / "bandwidth")
        self._throttles = (
            Throttle(settings.registry_bandwidth, wait=self.pause),
            Throttle(settings.registry_total_bandwidth, common, wait=self.pause),
        )
        self.client = RegistryClient(
            Hosts(
                directories=(Path(settings.registry_hosts),) if settings.registry_hosts else (),
                plain_http=frozenset(settings.registry_plain_http) | _without_tls(actor.birth.args),
                skip_verify=frozenset(settings.registry_skip_verify),
            ),
            with_logins(DockerConfig(Path(settings.registry_docker_config)), logins),
            f"actord/{__version__}",
        )

    @property
    def is_cancelled(self) -> bool:
        """Whether it has been told to end."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Have all its threads end soon. From any thread."""
        self._stop.set()

    def check(self) -> None:
        """Raise AbandonedError if it was cancelled."""
        if self._stop.is_set():
            raise AbandonedError

    def pause(self, seconds: float) -> None:
        """Wait. Raises AbandonedError."""
        if self._stop.wait(seconds):
            raise AbandonedError

    def throttle(self, count: int) -> None:
        """Note that `count` bytes were moved, and wait until the limits allow for them. AbandonedError."""
        with reported("share the bandwidth"):
            for one in self._throttles:
                one.take(count)
        self.tally.add(count)

    def call(self, body: Any, *, limit: float = 30.0) -> Any:
        """Ask another actor and wait. Raises RemoteError."""
        return self.actor.call(body, limit=limit)

    def persist(self, operation: "Callable[[], Any]", position: "Callable[[], int]" = lambda: 0) -> Any:
        """Try until it succeeds, is hopeless, or the transfer is cancelled. Raises RegistryError."""
        return persist(operation, self.pause, position)

    @contextmanager
    def several(self) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
        """Threads for blobs. After a failure, what has not begun is not begun; what has is not waited for."""
        count = self.settings.registry_layers_at_once
        cause = (current.get(),)
        pool = concurrent.futures.ThreadPoolExecutor(count, "blob", initializer=current.set, initargs=cause)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def moved(self, ref: str, status: str, offset: int = 0, total: int = 0, source: str = "") -> None:
        """Tell whoever is attached how far something is. Raises AbandonedError."""
        self.check()
        self.actor.moved(Progress(ref, status, offset, total, source))


def _without_tls(args: Mapping[str, Any]) -> frozenset[str]:
    """The registries that the arguments say speak plain HTTP."""
    named = (args["reference"], args.get("target")) if args.get("plain_http") else ()
    return frozenset(Reference.parse(name).domain for name in named if name)


def _unheard(_result: Any) -> None:
    """A scrape that misses a second of a transfer is no reason to trouble anybody."""


def with_logins(own: Credentials, logins: Mapping[str, Login]) -> Credentials:
    """The given logins, each for its host alone, before those of `own`."""
    found = own
    for host, login in logins.items():
        found = GivenLogin(host, login, found)
    return found
