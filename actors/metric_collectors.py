"""Who is asked what when the metrics are scraped: collectors as the Prometheus client's registry wants them.

Each asks other actors, or the kernel, at that moment. What becomes a sample of what they answer is decided in
internal_metrics.py and container_metrics.py, which ask nobody.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from actors import __version__
from actors import internal_metrics as internal
from actors import messages as m
from actors.actor import Actor
from actors.container_samples import Owned
from actors.linux import cgroups
from actors.linux.cgroup_figures import figures
from actors.metric_names import Family, families
from actors.overview import place
from actors.paging import everything
from actors.zygote.place import PROTOCOL
from transport.errors import RemoteError

SCRAPE_LIMIT: Final = 5.0  # seconds
BUILD: Final = {"version": __version__, "protocol": str(PROTOCOL), "python": platform.python_version()}


class _Asking:
    """Asks other actors when it is scraped; whoever does not answer in time is left out."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask anybody."""
        return []

    def ask(self, body: Any, missing: dict[str, Any]) -> dict[str, Any]:
        """The answer, or `missing`."""
        try:
            return self._answer(body)
        except RemoteError as error:
            self._left_out(body, error)
            return missing

    def listed(self, body: Any, key: str) -> list[Any]:
        """All of a list that comes in pages, or nothing of it."""
        try:
            return everything(self._answer, body, key)
        except RemoteError as error:
            self._left_out(body, error)
            return []

    def _answer(self, body: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._actor.call(body, limit=SCRAPE_LIMIT)
        return found

    def _left_out(self, body: Any, error: RemoteError) -> None:
        self._actor.log.warning("%s is left out: %s", m.operation_of(body).name, error)


class Tree(_Asking, Collector):
    """What the supervisor and the router have counted, and each of the other actors that there is one of."""

    def collect(self) -> Iterator[Metric]:
        """A few samples an actor."""
        build = Family("actord_build")
        build.metric.add_metric((), BUILD)  # type: ignore[attr-defined]  # an info has it
        yield build.metric
        told = self.ask(m.Actors(memory=False), {"actors": [], "reports": {}, "exits": []})
        yield from internal.of_actors(told["actors"])
        yield from internal.of_the_tree(told)
        yield from internal.of_figures(self._figures(internal.asked(told["actors"])))
        traffic = self.ask(m.RouterTraffic(), {})
        yield from internal.of_traffic(traffic) if traffic else ()

    def _figures(self, actors: list[str]) -> dict[str, Any]:
        """All are asked before the first answer is waited for."""
        asked = {name: self._actor.begin(m.MetricsFigures(), to=name, limit=SCRAPE_LIMIT) for name in actors}
        found = {}
        for name, wait in asked.items():
            try:
                found[name] = wait()
            except RemoteError as error:
                self._actor.log.warning("%s is left out: %s", name, error)
        return found


class Stores(_Asking, Collector):
    """How large they are."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor)
        self._stores = internal.Stores(actor.settings)

    def collect(self) -> Iterator[Metric]:
        """A look at most once a minute, then what was seen."""
        if self._stores.is_due:
            recorded = self.ask(m.SnapshotsUsages(recorded=True), {"usages": []})
            self._stores.look(recorded["usages"])
        yield from self._stores.collect()


class Nodes(_Asking, Collector):
    """How the other nodes are."""

    def collect(self) -> Iterator[Metric]:
        """Three samples of each."""
        up, phi, trip = families("actord_node_up", "actord_node_phi", "actord_node_round_trip_seconds")
        for one in self.ask(m.NodesList(), {"nodes": []})["nodes"]:
            who = (one["name"], one["link"])
            up.add(float(one["state"] in ("up", "suspect")), *who)
            phi.add(one["phi"], *who)
            if one.get("round_trip"):
                trip.add(one["round_trip"], *who)
        yield from (family.metric for family in (up, phi, trip))


class Images(_Asking, Collector):
    """How many there are."""

    def collect(self) -> Iterator[Metric]:
        """A count for each namespace."""
        images = Family("actord_images")
        for space in self.ask(m.NamespacesList(), {"namespaces": []})["namespaces"]:
            images.add(len(self.listed(m.ImagesList(space["name"]), "images")), space["name"])
        yield images.metric


class Containers(_Asking):
    """What the cgroup files say of each running container, under containerd's names."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor)
        self._layout = cgroups.mounted()

    def taken(self) -> tuple[Iterable[Metric], Iterable[Owned]]:
        """Their counts, and what each uses."""
        every = self.listed(m.ContainersList(brief=True), "containers")
        running = [one for one in every if (one["task"] or {}).get("status") in ("running", "paused")]
        return _of_containers(every), map(self._used, running)

    def _used(self, container: dict[str, Any]) -> Owned:
        own = {
            "container_id": container["id"],
            "namespace": container["namespace"],
            "runtime": container["runtime"],
        }
        return own, figures(self._layout, place(self._actor.settings, container))


def _of_containers(every: list[dict[str, Any]]) -> Iterator[Metric]:
    counts = Counter((one["namespace"], (one["task"] or {}).get("status", "created")) for one in every)
    states = Family("actord_containers")
    for (namespace, status), count in sorted(counts.items()):
        states.add(count, namespace, status)
    yield states.metric


class Transfers(internal.Transfers, Collector):
    """As the registry wants it."""

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []
