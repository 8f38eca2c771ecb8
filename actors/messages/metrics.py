"""Where the figures are, and what is told to it: metrics."""

from dataclasses import dataclass, field

from actors.messages.declare import Number, operation


@operation("metrics.address", "metrics", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Answer: `url` of the HTTP endpoint."""


@operation("metrics.overview", "metrics", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsOverview:
    """What is going on in the daemon as a whole, of one namespace or of all; nobody is woken up for it.

    Answer: `at`, `node`, `actors` and `exits` as `introspection.actors` has them (memory not of containers'
    actors), with each one's resident (bytes), processor (seconds) and descriptors; `containers`, each with
    namespace, id, name, image, wanted, created_at, task, and while it runs what `tasks.stats` has of its
    control group; `ingests` as `content.statuses` has them; `requests` that were answered and `waiting` ones,
    since the router began; `transferred`, bytes from and to registries by task, since metrics began.
    """

    namespace: str = ""


@operation("metrics.scrape", "metrics", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsScrape:
    """What a scrape over HTTP gets. Answer: `text`, in Prometheus' format."""


@operation("metrics.transferred", "metrics")
@dataclass(frozen=True, slots=True)
class MetricsTransferred:
    """A transfer has moved bytes, or has ended.

    Attributes:
        task: what it does: pull, push, copy ...
        bytes: from or to a registry, since it last said so.
        outcome: once it has ended: `ok`, or the code of its error.
    """

    task: str
    bytes: Number
    outcome: str = ""


@operation("metrics.usage", "metrics", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsUsage:
    """What containers use now. Answer: `containers`: id, name and what `tasks.stats` answers, of each.

    Their actors are not asked, and may sleep.

    Attributes:
        ids: of those; empty for all that run.
        figures: answer also `figures` of each, as `tasks.stats` does.
    """

    namespace: str
    ids: list[str] = field(default_factory=list)
    figures: bool = False


@operation("router.traffic", "router", repeatable=True)
@dataclass(frozen=True, slots=True)
class RouterTraffic:
    """What has passed since the router began.

    Answer: `ended`, a list of operation, outcome (`ok` or an error's code) and number; `took`, times by
    operation, as in `metrics.figures`; `waiting`, requests under way by kind of actor; `counters`, messages.
    """
