"""What a daemon is told at its start, and where it keeps things.

Read once by the zygote from the command line and a TOML file (etc/actord.toml lists every key), then
inherited by every actor through fork. Standard library only.
"""

import ipaddress
import socket
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

SNAPSHOTTERS: Final = ("overlayfs", "native")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
MIN_HANG_AFTER = 0.2  # seconds; less than that, a busy machine takes
MIN_SLEEP_AFTER = 0.1  # seconds; less than that, a start takes
MAX_CONNECTIONS = 32
MIN_RANGE = 64 << 10  # bytes; less than that is all overhead
MAX_SOCKET_PATH = 107  # sun_path, less its final zero (unix(7))


class SettingsError(Exception):
    """A setting is missing, unknown or makes no sense; the text names it and says what to write."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, with its default.

    Attributes:
        root: durable state: content, snapshots, databases, logs. Directory, mode 0700.
        state: what does not outlive a reboot: sockets, locks, mounts, journals. Directory, mode 0711.
        node: name of this host among others.
        listen: `tcp://ADDRESS:PORT` for clients on other hosts, who need keys; empty for none.
        log_level: one of `LOG_LEVELS`.
        log_format: one of `LOG_FORMATS`.
        metrics_listen: `address:port` of the HTTP endpoint, loopback only; port 0 takes a free one.
        metrics_page: whether it also serves a page for browsers, read-only.
        runtime_name: `runc` or `crun`, when a container does not say.
        runtime_binary: path of the runtime, empty for the one on PATH.
        runtime_keep_specs: directory for a copy of each specification that a runtime is given; or empty.
        network_cni_path: directories with CNI plugins, `:` between them.
        registry_hosts: directory of hosts.toml files, empty for none.
        registry_docker_config: the docker config.json with the daemon's own logins.
        registry_plain_http: hosts (host:port) to speak plain HTTP to.
        registry_skip_verify: hosts whose certificates are not verified.
        registry_layers_at_once: blobs that one transfer moves at the same time.
        registry_ranges_at_once: connections that fetch one large blob; 1 for no ranges.
        registry_range_bytes: how much of a large blob one request asks for.
        registry_ranges_after: seconds for which a large blob is left to one connection.
        registry_bandwidth: bytes per second of one transfer, 0 for no limit.
        registry_total_bandwidth: the same, of all transfers together.
        registry_peers: whether joined nodes are asked for an image's blobs before its registry.
        grpc_listen: socket of containerd's API; `default` for one in the state directory, empty for none.
        events_keep: how many events the journal keeps.
        tracing_otlp_endpoint: address of an OpenTelemetry collector, for spans; empty for none.
        logging_journal: socket of systemd's journal, for the log driver journald and the daemon's own log.
        supervision_hang_after: seconds without an answer after which an actor is said to hang.
        supervision_sleep_after: seconds without anything to do after which a container's actor ends, to be
            started again when there is; 0 for never.
        snapshots_default: snapshotter of images and containers that name none, one of `SNAPSHOTTERS`.
        layers_entries: tar headers that one layer may have.
        layers_header_bytes: size of one extension header in a layer.
        layers_total_bytes: uncompressed size of a layer.
        layers_ratio: uncompressed bytes for each compressed one, beyond the first 256 MiB.
        memory_merge: whether actors offer their memory to the kernel's same-page merging.
        failpoints: whether faults may be injected (actors/failpoints.py).
        content_sharing: `shared`: a namespace that names a blob that another has need not bring its bytes;
            `isolated`: it must, unless a namespace that has it is labelled as shareable.
        collection_mutations: changes without a deletion after which garbage is collected.
        collection_pause: the part of the time that collecting may take, 0 to 1.
        collection_startup_delay: seconds from the start to the first collection.
    """

    root: Path
    state: Path
    node: str = field(default_factory=socket.gethostname)
    listen: str = ""
    log_level: str = "info"
    log_format: str = "text"
    metrics_listen: str = "127.0.0.1:9323"
    metrics_page: bool = False
    runtime_name: str = "runc"
    runtime_binary: str = ""
    runtime_keep_specs: str = ""
    network_cni_path: str = "/usr/lib/cni:/opt/cni/bin"
    registry_hosts: str = ""
    registry_docker_config: str = "/root/.docker/config.json"
    registry_plain_http: tuple[str, ...] = ()
    registry_skip_verify: tuple[str, ...] = ()
    registry_layers_at_once: int = 3
    registry_ranges_at_once: int = 4
    registry_range_bytes: int = 32 << 20
    registry_ranges_after: float = 1.0
    registry_bandwidth: int = 0
    registry_total_bandwidth: int = 0
    registry_peers: bool = True
    grpc_listen: str = "default"
    events_keep: int = 100_000
    tracing_otlp_endpoint: str = ""
    logging_journal: str = "/run/systemd/journal/socket"
    supervision_hang_after: float = 10.0
    supervision_sleep_after: float = 10.0
    snapshots_default: str = "overlayfs"
    layers_entries: int = 2_000_000
    layers_header_bytes: int = 1 << 20
    layers_total_bytes: int = 64 << 30
    layers_ratio: int = 250
    memory_merge: bool = True
    failpoints: bool = False
    content_sharing: str = "shared"
    collection_mutations: int = 100
    collection_pause: float = 0.02
    collection_startup_delay: float = 0.1

    @property
    def router_socket(self) -> Path:
        """The only door: where clients and actors connect."""
        return self.state / "actord.sock"

    @property
    def keys(self) -> Path:
        """Where the daemon's own key pair is, and the keys of those who may come in over TCP."""
        return self.root / "keys"

    @property
    def zygote_socket(self) -> Path:
        """Where actors that outlived their zygote find the next one."""
        return self.state / "zygote.sock"

    @property
    def keeper_socket(self) -> Path:
        """Where the next zygote finds what the last one had kept for those who sleep."""
        return self.state / "keeper.sock"

    @property
    def exits(self) -> Path:
        """Where the zygote keeps how orphans ended."""
        return self.state / "exits"

    @property
    def watched(self) -> Path:
        """Which processes actors watch, where the kernel tells how one ends to its parent alone."""
        return self.state / "watched"

    @property
    def content(self) -> Path:
        """The content store's directory."""
        return self.root / "content"

    def logs(self, namespace: str, container: str) -> Path:
        """Directory of a container's output."""
        return self.root / "logs" / namespace / container

    @property
    def filters(self) -> Path:
        """Where seccomp filters are kept that crun has made."""
        return self.state / "filters"

    def bundle(self, namespace: str, container: str) -> Path:
        """Directory of a container's bundle, FIFOs, lock and journal."""
        return self.state / "containers" / namespace / container


_TABLES = {
    name: f"{name}_"
    for name in (
        "metrics",
        "network",
        "grpc",
        "runtime",
        "registry",
        "snapshots",
        "layers",
        "events",
        "logging",
        "tracing",
        "supervision",
        "memory",
        "content",
        "collection",
    )
}
_LAYERS = ("layers_entries", "layers_header_bytes", "layers_total_bytes", "layers_ratio")
_TYPES = {
    "events_keep": int,
    "supervision_hang_after": float,
    "supervision_sleep_after": float,
    "memory_merge": bool,
    "metrics_page": bool,
    **dict.fromkeys(_LAYERS, int),
    "failpoints": bool,
    "registry_plain_http": tuple,
    "registry_skip_verify": tuple,
    "registry_layers_at_once": int,
    "registry_ranges_at_once": int,
    "registry_range_bytes": int,
    "registry_ranges_after": float,
    "registry_bandwidth": int,
    "registry_total_bandwidth": int,
    "registry_peers": bool,
    "collection_mutations": int,
    "collection_pause": float,
    "collection_startup_delay": float,
}  # all others: str
_NAMES = {item.name for item in fields(Settings)}


def load(path: Path | None, **given: Any) -> Settings:
    """Settings from a file (None for none) with what the command line gave on top.

    Raises:
        SettingsError: the file cannot be read, a key is unknown, or a value is of the wrong kind.
    """
    values = _flatten(_read(path)) if path else {}
    values.update({key: value for key, value in given.items() if value is not None})
    for key, default in (("root", "/var/lib/actord"), ("state", "/run/actord")):
        values[key] = Path(values.get(key, default)).absolute()
    settings = Settings(**values)
    _check(settings)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"configuration file {path} is not valid TOML: {error}") from error


def _flatten(document: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in document.items():
        prefix = _TABLES.get(key)
        if prefix is not None and isinstance(value, dict):
            values.update({prefix + inner: deep for inner, deep in value.items()})
        else:
            values[key] = value
    for key, value in values.items():
        if key not in _NAMES:
            raise SettingsError(f"unknown configuration key {key}; see etc/actord.toml for those there are")
        values[key] = _typed(key, value)
    return values


def _typed(key: str, value: Any) -> Any:
    """The value, a list of texts as a tuple. Raises SettingsError if it is of another type than the key's."""
    wanted = _TYPES.get(key, str)
    if wanted is tuple and isinstance(value, list) and all(isinstance(text, str) for text in value):
        return tuple(value)
    if type(value) is not wanted and (wanted, type(value)) != (float, int):
        name = "list of texts" if wanted is tuple else wanted.__name__
        raise SettingsError(f"configuration key {key} must be of type {name}")
    return value


def _check(settings: Settings) -> None:
    if settings.root == settings.state:
        raise SettingsError(f"root and state are both {settings.root}; give each a directory of its own")
    if settings.log_level not in LOG_LEVELS:
        raise SettingsError(f"log level {settings.log_level!r} is none of {', '.join(LOG_LEVELS)}")
    if settings.log_format not in LOG_FORMATS:
        raise SettingsError(f"log format {settings.log_format!r} is none of {', '.join(LOG_FORMATS)}")
    if settings.runtime_name not in ("runc", "crun"):
        raise SettingsError(f"runtime {settings.runtime_name!r} is neither runc nor crun")
    if settings.snapshots_default not in SNAPSHOTTERS:
        raise SettingsError(
            f"snapshots default {settings.snapshots_default!r} is none of {', '.join(SNAPSHOTTERS)}"
        )
    for name in _LAYERS:
        if getattr(settings, name) < 1:
            raise SettingsError(f"{name.replace('_', ' ', 1)} is {getattr(settings, name)}; it is at least 1")
    if settings.events_keep < 1:
        raise SettingsError(f"events keep is {settings.events_keep}; keep at least 1")
    _check_listen(settings)
    _check_tracing(settings)
    _check_registry(settings)
    if not MIN_HANG_AFTER <= settings.supervision_hang_after <= 3600:
        raise SettingsError(f"supervision hang_after is not between {MIN_HANG_AFTER} and 3600 seconds")
    if not (
        settings.supervision_sleep_after == 0 or MIN_SLEEP_AFTER <= settings.supervision_sleep_after <= 86400
    ):
        text = f"supervision sleep_after is neither 0 nor between {MIN_SLEEP_AFTER} and 86400 seconds"
        raise SettingsError(text)
    _check_collection(settings)
    if len(str(settings.router_socket)) > MAX_SOCKET_PATH:
        raise SettingsError(
            f"state directory {settings.state} is too long for a Unix socket; use a shorter one"
        )
    metrics_address(settings)


def _check_listen(settings: Settings) -> None:
    """An address and a port, both as numbers: names would be looked up by whoever can fake answers."""
    if not settings.listen:
        return
    host, _, port = settings.listen.removeprefix("tcp://").rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        right = settings.listen.startswith("tcp://") and 0 < int(port) <= 65535
    except ValueError:
        right = False
    if not right:
        raise SettingsError(f"listen address {settings.listen!r} is not of the form tcp://192.0.2.1:7400")


def _check_tracing(settings: Settings) -> None:
    found = settings.tracing_otlp_endpoint
    if found and not found.startswith(("http://", "https://")):
        raise SettingsError(f"tracing otlp_endpoint {found!r} is not of the form http://127.0.0.1:4318")


def _check_registry(settings: Settings) -> None:
    for name in ("layers_at_once", "ranges_at_once"):
        if not 1 <= getattr(settings, f"registry_{name}") <= MAX_CONNECTIONS:
            raise SettingsError(f"registry {name} is not between 1 and {MAX_CONNECTIONS}")
    if not MIN_RANGE <= settings.registry_range_bytes <= 1 << 30:
        raise SettingsError(f"registry range_bytes is not between {MIN_RANGE} and {1 << 30}")
    if (
        min(settings.registry_ranges_after, settings.registry_bandwidth, settings.registry_total_bandwidth)
        < 0
    ):
        raise SettingsError("registry ranges_after, bandwidth and total_bandwidth must not be negative")


def _check_collection(settings: Settings) -> None:
    if settings.content_sharing not in ("shared", "isolated"):
        raise SettingsError(f"content sharing {settings.content_sharing!r} is neither shared nor isolated")
    if settings.collection_mutations < 1:
        raise SettingsError(f"collection mutations is {settings.collection_mutations}; use at least 1")
    if not 0.001 <= settings.collection_pause <= 1:
        raise SettingsError(f"collection pause {settings.collection_pause} is not between 0.001 and 1")
    if not 0 <= settings.collection_startup_delay <= 3600:
        raise SettingsError("collection startup_delay is not between 0 and 3600 seconds")


def metrics_address(settings: Settings) -> tuple[str, int]:
    """Host and port of the metrics endpoint. Raises SettingsError unless it is on loopback."""
    host, _, port = settings.metrics_listen.rpartition(":")
    try:
        if not ipaddress.ip_address(host.strip("[]")).is_loopback:
            raise SettingsError(
                f"metrics listen address {host} is not a loopback address; use 127.0.0.1 or [::1]"
            )
        number = int(port)
    except ValueError as error:
        text = f"metrics listen address {settings.metrics_listen!r} is not of the form 127.0.0.1:9323"
        raise SettingsError(text) from error
    if not 0 <= number <= 65535:
        raise SettingsError(f"metrics port {number} is not between 0 and 65535")
    return host.strip("[]"), number
