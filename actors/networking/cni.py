"""Networks of kind `cni`: plugins of others, run as the Container Network Interface says (CNI spec 1.0.0).

Every ADD is written down before it is begun, with the configuration that it is made with, and again with
its result; CHECK and DEL are given just those. A DEL is repeated (actors/networking/removals.py) until the
plugins say that it is done; one that is not installed any more is passed over, since nobody knows when it
will be. What was killed in the
middle of an ADD begins anew with a DEL.
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.linux import netns
from actors.linux.run import run
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.networks import Endpoint, Network, Port

LIMIT: Final = 60.0  # seconds that a plugin may take
DELETE_LIMIT: Final = 20.0  # the same, for what it has made: a container waits for it
MOST: Final = 256 << 10  # bytes of a configuration list
MOST_PLUGINS: Final = 32
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSIONS: Final = ("0.3.0", "0.3.1", "0.4.0", "1.0.0")
_CHECKED_SINCE: Final = ("0.4.0", "1.0.0")  # versions that have CHECK

Json = dict[str, Any]
log = logging.getLogger("network")


def parse(text: str) -> Json:
    """A configuration list as it is in /etc/cni/net.d/NAME.conflist.

    Raises:
        InvalidArgumentError: it is none; the text says what is wrong.
    """
    if len(text) > MOST:
        raise InvalidArgumentError(f"cni configuration has {len(text)} characters, more than {MOST}")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"cni configuration is not valid json: {error}") from None
    plugins = found.get("plugins") if isinstance(found, dict) else None
    if not isinstance(plugins, list) or not 0 < len(plugins) <= MOST_PLUGINS:
        raise InvalidArgumentError(f"cni configuration wants `plugins`, a list of 1 to {MOST_PLUGINS}")
    if found.get("cniVersion") not in _VERSIONS:
        raise InvalidArgumentError(
            f"cniVersion {found.get('cniVersion')!a} is none of {', '.join(_VERSIONS)}"
        )
    if not isinstance(found.get("name"), str) or not _PLAIN.fullmatch(found["name"]):
        raise InvalidArgumentError("cni configuration wants a name of letters, digits, `_`, `.` and `-`")
    for plugin in plugins:
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or not _PLAIN.fullmatch(kind):
            raise InvalidArgumentError(f"cni plugin type {str(kind)[:60]!a} is not the name of a program")
    return dict(found)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One container's part in a network of this kind.

    Attributes:
        namespace: the network namespace's file.
        ports: what a plugin with the capability `portMappings` is to publish.
    """

    endpoint: Endpoint
    namespace: Path
    ports: Sequence[Port] = ()

    @property
    def interface(self) -> str:
        """Its name in the container."""
        return f"eth{self.endpoint.number}"


class Cni:
    """Runs plugins found in `search` (directories with `:` between them); keeps records in `directory`."""

    def __init__(self, search: str, directory: Path) -> None:
        self._search = search
        self._directory = directory

    def add(self, network: Network, attachment: Attachment) -> tuple[str, ...]:
        """Connect; gives the addresses, as `10.0.0.2/24`. Done before, it is not done again.

        Raises:
            FailedPreconditionError: a plugin is missing or refused; nothing is left if it takes it back.
        """
        known = self._known(attachment)
        if known is not None and known["result"] is None:  # cut off in the middle
            self.delete(attachment)
            known = None
        if known is None:
            known = self._added(_with_wishes(network.options["config"], attachment), attachment)
        return _addresses(known["result"])

    def _added(self, config: Json, attachment: Attachment) -> Json:
        for plugin in config["plugins"]:
            self._program(
                plugin["type"]
            )  # one that is missing is found before the others have done something
        self._write(attachment, {"config": config, "result": None})
        try:
            result: Json = {}
            for plugin in config["plugins"]:
                result = self._run("ADD", config, plugin, result, attachment)
        except FailedPreconditionError:
            try:
                self.delete(attachment)
            except FailedPreconditionError as error:  # tried again when the container is detached
                log.warning("%s", error)
            raise
        return self._write(attachment, {"config": config, "result": result})

    def check(self, attachment: Attachment) -> str:
        """What the plugins find wrong; empty for nothing."""
        known = self._known(attachment)
        if known is None or known["result"] is None:
            return "it was never connected"
        if known["config"]["cniVersion"] not in _CHECKED_SINCE:
            return ""
        try:
            for plugin in known["config"]["plugins"]:
                self._run("CHECK", known["config"], plugin, known["result"], attachment)
        except FailedPreconditionError as error:
            return str(error)
        return ""

    def delete(self, attachment: Attachment) -> None:
        """Disconnect; again is no error. Raises FailedPreconditionError: a plugin refused, so ask again.

        Its interface goes with the namespace in any case. What else a plugin has made that is gone, leases or
        rules, is for a person to remove: no container waits for that.
        """
        known = self._known(attachment)
        if known is None:
            return
        for plugin in reversed(known["config"]["plugins"]):
            gone = self._gone(plugin)
            if gone:
                log.warning(
                    "container %s on network %s: what cni plugin %s has made for it may stay: %s is gone",
                    attachment.endpoint.container, attachment.endpoint.network, plugin["type"], gone,
                )  # fmt: skip
            else:
                self._run("DEL", known["config"], plugin, known["result"] or {}, attachment)
        self._record(attachment).unlink()

    def _gone(self, plugin: Mapping[str, Any]) -> str:
        """The program that is missing: its own, or the one that it asks for addresses; empty for none."""
        ipam = plugin.get("ipam")
        asked = ipam.get("type") if isinstance(ipam, dict) else None
        wanted = (str(plugin["type"]), *((asked,) if isinstance(asked, str) else ()))
        return next((kind for kind in wanted if self._found(kind) is None), "")

    def _run(
        self, command: str, config: Json, plugin: Mapping[str, Any], before: Json, attachment: Attachment
    ) -> Json:
        given = {**plugin, "name": config["name"], "cniVersion": config["cniVersion"]}
        given.pop("capabilities", None)
        if before:
            given["prevResult"] = before
        there = netns.exists(attachment.namespace)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": attachment.endpoint.container,
            "CNI_NETNS": str(attachment.namespace) if there else "",
            "CNI_IFNAME": attachment.interface,
            "CNI_PATH": self._search,
        }
        kind = str(plugin["type"])
        limit = DELETE_LIMIT if command == "DEL" else LIMIT
        try:
            ended = run([self._program(kind)], json.dumps(given), env=env, limit=limit)
        except (OSError, TimeoutError) as error:
            raise FailedPreconditionError(f"cni plugin {kind} {command}: {error}") from error
        if ended.code:
            raise FailedPreconditionError(
                f"cni plugin {kind} {command}: {_complaint(ended.said, ended.complaint)}"
            )
        return _result(kind, ended.said) if command == "ADD" else {}

    def _program(self, kind: str) -> str:
        found = self._found(kind)
        if found is None:
            raise FailedPreconditionError(
                f"cni plugin {kind} is in none of {self._search}: apt-get install containernetworking-plugins"
            )
        return found

    def _found(self, kind: str) -> str | None:
        paths = (Path(directory, kind) for directory in self._search.split(":"))
        return next((str(path) for path in paths if path.is_file()), None)

    def _record(self, attachment: Attachment) -> Path:
        return self._directory / "+".join(attachment.endpoint.key)

    def _known(self, attachment: Attachment) -> Json | None:
        try:
            found: Json = json.loads(self._record(attachment).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def _write(self, attachment: Attachment, document: Json) -> Json:
        """Whole and durable, or not at all."""
        path = self._record(attachment)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        return document


def _with_wishes(config: Json, attachment: Attachment) -> Json:
    """The configuration with what a container asked for, for plugins that say they can do it."""
    endpoint = attachment.endpoint
    mappings = [
        {"hostPort": one.host_port, "containerPort": one.container_port, "protocol": one.protocol,
         "hostIP": one.host} for one in attachment.ports
    ]  # fmt: skip
    bits = dict.fromkeys(("ingressRate", "ingressBurst", "egressRate", "egressBurst"), endpoint.rate * 8)
    wishes: Json = {
        "portMappings": mappings,
        "mac": endpoint.mac,
        "ips": list(endpoint.addresses),
        "bandwidth": bits if endpoint.rate else {},
    }
    plugins = []
    for plugin in config["plugins"]:
        able = plugin.get("capabilities") or {}
        mine = {name: wish for name, wish in wishes.items() if wish and able.get(name)}
        plugins.append({**plugin, "runtimeConfig": mine} if mine else dict(plugin))
    return {**config, "plugins": plugins}


def _result(kind: str, said: str) -> Json:
    try:
        found = json.loads(said) if said.strip() else {}
    except ValueError as error:
        raise FailedPreconditionError(f"cni plugin {kind} answered what is not json: {error}") from None
    return found if isinstance(found, dict) else {}


def _complaint(said: str, complaint: str) -> str:
    """Plugins say what went wrong as JSON on their standard output."""
    try:
        found = json.loads(said)
        return " ".join(f"{found.get('msg', '')} {found.get('details', '')}".split())[:500]
    except (ValueError, AttributeError):
        return (complaint or said).strip()[:500] or "it failed and did not say why"


def _addresses(result: Json) -> tuple[str, ...]:
    return tuple(str(one["address"]) for one in result.get("ips") or () if "address" in one)
