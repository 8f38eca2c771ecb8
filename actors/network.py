"""Network: networks, the containers' network namespaces and interfaces, addresses, published ports.

A namespace is bound to a file under state/netns and so outlives every actor. What is wanted is in
root/networks.db, recorded before the kernel is told and forgotten after: at its start, and whenever asked to
check, the actor makes the kernel agree with the records. States: none beside those. What takes time is done
in threads, for each container in order. Restarted by the supervisor, always; traffic does not notice.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from actors import failpoints
from actors import messages as m
from actors.call import LATER, Call, Later
from actors.linux import idmap, netns, nft
from actors.networking import names, publishing, wishes
from actors.networking.cni import Cni
from actors.networking.drift import Drift
from actors.networking.in_order import Done, InOrder
from actors.networking.networks import Networks
from actors.networking.plan import Wish as NewNetwork
from actors.networking.ports import publish
from actors.networking.refusals import refused
from actors.networking.removals import Removals
from actors.networking.table import Table
from actors.networking.telling import Telling
from actors.networking.wiring import Wiring
from actors.primitives import Primitives
from actors.runtime import id_ranges
from storage.backup import backup_path
from storage.errors import FailedPreconditionError, StorageError
from storage.names import check_identifier
from storage.networks import Endpoint, Network, NetworkStore, Port
from transport.errors import RemoteError

Wired = m.NetworkAttach | m.NetworkConnect


class NetworkActor(Primitives):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "network"

    def started(self) -> None:
        """Open the records; finish what was cut off, hold the ports again, load the rules."""
        self._directory = self.settings.state / "netns"
        self._owners = self.settings.state / "userns"
        for directory in (self._directory, self._owners):
            directory.mkdir(mode=0o700, exist_ok=True)
        scope = hashlib.sha256(str(self.settings.root).encode()).hexdigest()[:8]
        self._wiring = Wiring(scope, Cni(self.settings.network_cni_path, self.settings.root / "cni"))
        self._store = NetworkStore(self.settings.root / "networks.db")
        self._held = publishing.Held()
        self._table = Table(f"actord_{scope}", self._store, self.work)
        self._in_order = InOrder(self.work)
        self._telling = Telling(partial(self.ask, m.ResolverRefresh()), self.later)
        self._networks = Networks(self._store, self._wiring, self.work)
        for port in self._store.ports():
            self._hold_again(port)
        self._removals = Removals(self._store, self._wiring, self._path, self._in_order.do, self.later)
        self._removals.finish()
        if any(one.kind in ("bridge", "vxlan") for one in self._store.networks()):
            self._table.load(self._logged)

    def stopping(self) -> None:
        """Close the database in order."""
        self._store.close()
        self.finish()

    def network_backup(self, body: m.NetworkBackup, _: Call) -> None:
        """A copy of the database."""
        self._store.backup(backup_path(body.path))

    # A container

    def network_attach(self, body: m.NetworkAttach, call: Call) -> Later | dict[str, Any]:
        """Record, then make: namespace, interfaces, rules."""
        wish = wishes.parse(body.wish)
        path, ids = self._path(body.namespace, body.id), id_ranges.parse(body.userns)
        if wish.mode == "host":
            return names.host_answer(wish)
        if wish.mode:
            return names.shared_answer(self._shared(body.namespace, wish.mode), wish)
        if self._once_gone(body, {one.network for one in wish.networks}, call, self.network_attach):
            return LATER
        pairs, ports = self._recorded(body, wish)
        new = {network.name for network, _ in pairs} - self._networks.made

        def work() -> list[tuple[str, ...]]:
            self._make_namespaces(path, ids)
            return [self._make(network, endpoint, path, ports) for network, endpoint in pairs]

        def wired(result: Any) -> None:
            if isinstance(result, Exception):
                call.settle(refused(result))
                return
            known = [
                (network, self._learned(network, endpoint, addresses))
                for (network, endpoint), addresses in zip(pairs, result, strict=True)
            ]
            answer = names.own_answer(path, body.name or body.id[:12], wish, known, ports)
            answer |= {"userns": str(self._owner(path))} if ids else {}
            self._networks.made |= {network.name for network, _ in pairs}
            if ports or new:
                self._table.load(lambda result: call.settle(refused(result) or answer))
            else:
                call.reply(answer)
            if pairs:  # without an interface there is no name to be known by
                self._telling.changed()

        self._in_order.do(_key(body), work, wired)
        return LATER

    def _recorded(
        self, body: m.NetworkAttach, wish: wishes.Wish
    ) -> tuple[list[tuple[Network, Endpoint]], list[Port]]:
        """What is wanted, durably: its ends, each with its network, and its ports; all of it or nothing."""
        with self._held.all_or_none(), self._store.transaction():
            for one in wish.networks:
                self._networks.wanted(one.network)
            wanted = wishes.endpoints(body.namespace, body.id, body.name, wish.networks)
            ends = [self._store.connect(one) for one in wanted]
            ports = publish(self._store, self._held, body.namespace, body.id, wish.ports)
        failpoints.hit("network", "attach", "recorded")
        return [(self._store.get(end.network), end) for end in ends], ports

    def _learned(self, network: Network, endpoint: Endpoint, addresses: Sequence[str]) -> Endpoint:
        """With the addresses that it has been given: where a plugin chooses them, they are recorded now."""
        return self._store.learned(endpoint, addresses) if network.kind == "cni" else endpoint

    def _once_gone(self, body: Wired, networks: set[str], call: Call, operation: Callable[..., Any]) -> bool:
        """Whether an earlier run has left an end in one of these: it goes first, or is in the way."""
        leaving = self._removals.of_container(body.namespace, body.id, networks) if networks else []
        if not leaving:
            return False

        def gone(result: Any) -> None:
            if isinstance(result, Exception):
                call.settle(refused(result))
                return
            try:
                answer = operation(body, call)
            except (RemoteError, StorageError) as error:
                answer = error
            if answer is not LATER:
                call.settle(answer)

        self._removals.remove(leaving[0], gone)
        return True

    def _make_namespaces(self, path: Path, ids: id_ranges.IdRange | None) -> None:
        """In a worker thread."""
        if ids is None:
            netns.create(path)
        else:
            lines = idmap.IdMap(f"0 {ids.uid} {ids.size}", f"0 {ids.gid} {ids.size}")
            netns.create_owned(path, self._owner(path), lines)

    def _owner(self, path: Path) -> Path:
        """Where the user namespace is that a network namespace may belong to."""
        return self._owners / path.name

    def _make(
        self, network: Network, endpoint: Endpoint, path: Path, ports: Sequence[Port] = ()
    ) -> tuple[str, ...]:
        """In a worker thread. Gives the addresses that it has."""
        self._networks.ensure(network)
        failpoints.hit("network", "attach", "network")
        addresses = self._wiring.ensure_endpoint(network, endpoint, path, ports)
        failpoints.hit("network", "attach", "endpoint")
        return addresses

    def network_detach(self, body: m.NetworkDetach, call: Call) -> Later:
        """Forget the ports, remove interfaces and namespace, then forget the endpoints."""
        path = self._path(body.namespace, body.id)
        ends = self._store.endpoints(namespace=body.namespace, container=body.id)
        ports = self._store.ports(namespace=body.namespace, container=body.id)
        if ends or ports:
            with self._store.transaction():
                for end in ends:
                    self._store.removing(end)
                self._store.unpublish(body.namespace, body.id)
        for port in ports:
            self._held.free(port)
        failpoints.hit("network", "detach", "recorded")
        pairs = [(self._store.get(end.network), end) for end in ends]

        def work() -> list[str]:
            refusals = []
            for network, end in pairs:
                refusals.append(self._removals.attempt(network, end, path))
                failpoints.hit("network", "detach", "endpoint")
            netns.remove(path)
            netns.remove(self._owner(path), idmap.CLONE_NEWUSER)
            return refusals

        def unwired(result: Any) -> None:
            if isinstance(result, Exception):
                call.settle(refused(result))
                return
            failpoints.hit("network", "detach", "unwired")
            answer = {"left": self._removals.attempted(ends, result)} if ends else {}
            if ports:
                self._table.load(lambda result: call.settle(refused(result) or answer))
            else:
                call.reply(answer)
            if ends:
                self._telling.changed()

        self._in_order.do(_key(body), work, unwired)
        return LATER

    def network_connect(self, body: m.NetworkConnect, call: Call) -> Later:
        """One more interface, at each further start too. One that cannot be made leaves nothing."""
        path = self._running(body.namespace, body.id)
        wish = wishes.connection(body.network, body.wish)
        self._networks.wanted(body.network)
        if self._once_gone(body, {body.network}, call, self.network_connect):
            return LATER
        there = self._store.endpoint(body.network, body.namespace, body.id) is not None
        (wanted,) = wishes.endpoints(body.namespace, body.id, body.name, (wish,))
        endpoint = self._store.connect(wanted)
        network = self._store.get(body.network)
        failpoints.hit("network", "connect", "recorded")

        def undone(refusal: Any) -> None:
            if there:  # it was on that network before, and may still be
                call.settle(refusal)
                return
            self._remember(
                body, None, lambda _: self._removals.remove(endpoint, lambda _: call.settle(refusal))
            )

        def remembered(result: Any) -> None:
            if isinstance(result, Exception):
                undone(result)
                return
            failpoints.hit("network", "connect", "remembered")
            self._in_order.do(_key(body), lambda: self._make(network, endpoint, path), wired)

        def wired(result: Any) -> None:
            if isinstance(result, Exception):
                undone(refused(result))
                return
            failpoints.hit("network", "connect", "wired")
            self._networks.made.add(network.name)
            described = msgspec.to_builtins(self._learned(network, endpoint, result))
            self._table.load(lambda result: call.settle(refused(result) or described))
            self._telling.changed()

        self._remember(body, body.wish, remembered)
        return LATER

    def _remember(
        self, body: m.NetworkConnect | m.NetworkDisconnect, wish: dict[str, Any] | None, then: Done
    ) -> None:
        """In the container's options, by its actor, which alone writes them."""
        self.ask(m.ContainersNetworks(body.network, wish), then, to=f"container/{body.namespace}/{body.id}")

    def network_disconnect(self, body: m.NetworkDisconnect, call: Call) -> Later:
        """No more from the next start; then take the interface away, then forget it."""
        self._path(body.namespace, body.id)
        endpoint = self._store.endpoint(body.network, body.namespace, body.id)
        if endpoint is None:
            self._store.get(body.network)

        def gone(result: Any) -> None:
            if isinstance(result, Exception):
                call.settle(refused(result))
            else:
                self._table.load(lambda result: call.settle(refused(result) or {}))
            self._telling.changed()

        def remembered(result: Any) -> None:
            if isinstance(result, Exception) or endpoint is None:
                call.settle(result if isinstance(result, Exception) else {})
                return
            failpoints.hit("network", "disconnect", "remembered")
            self._removals.remove(endpoint, gone)

        self._remember(body, None, remembered)
        return LATER

    def network_rename(self, body: m.NetworkRename, _: Call) -> None:
        """From now on the resolver knows it by that name, and nobody by the old one."""
        if self._store.rename(body.namespace, body.id, body.name):
            self._telling.changed()

    # Networks

    def network_create(self, body: m.NetworkCreate, call: Call) -> Later:
        """Choose what was not said, record it, make it."""
        network = self._networks.create(msgspec.convert(msgspec.to_builtins(body), NewNetwork))

        def made(result: Any) -> None:
            if isinstance(result, Exception):
                self._networks.unmake(network)
                call.settle(refused(result))
                return
            self._networks.made.add(network.name)
            self._table.load(ruled)

        def ruled(result: Any) -> None:
            if isinstance(result, nft.MissingError):
                self._networks.unmake(network)
            else:
                self._announce("create", network.name)
            call.settle(refused(result) or msgspec.to_builtins(network))

        self._in_order.do(f"network {network.name}", lambda: self._wiring.ensure_network(network), made)
        return LATER

    def network_get(self, body: m.NetworkGet, _: Call) -> dict[str, Any]:
        """One, with its endpoints."""
        found = msgspec.to_builtins(self._store.get(body.name))
        ends = self._store.endpoints(network=body.name)
        return {**found, "endpoints": [msgspec.to_builtins(end) for end in ends]}

    def network_list(self, _body: m.NetworkList, _: Call) -> dict[str, Any]:
        """All of them."""
        ends = [one.network for one in self._store.endpoints()]
        return {
            "networks": [
                {**msgspec.to_builtins(one), "endpoints": ends.count(one.name)}
                for one in self._store.networks()
            ]
        }

    def network_remove(self, body: m.NetworkRemove, call: Call) -> Later:
        """Take its interface away, then the record, then its rules: cut off, it can be removed again."""
        network = self._store.get(body.name)
        self._networks.refuse_going(body.name)
        self._store.refuse_removal(body.name)
        self._take_away([network], lambda result: call.settle(refused(result) or {}))
        return LATER

    def network_prune(self, _body: m.NetworkPrune, call: Call) -> Later:
        """All that nobody is on. What plugins have refused to take back is tried once more before."""
        self._removals.again(lambda left: self._prune(call, left))
        return LATER

    def _prune(self, call: Call, left: list[str]) -> None:
        unused = self._networks.unused()
        answer = {"removed": [one.name for one in unused], "left": left}
        self._take_away(unused, lambda result: call.settle(refused(result) or answer))

    def _take_away(self, networks: list[Network], then: Done) -> None:
        def gone(result: Any) -> None:
            if isinstance(result, Exception):
                then(result)
                return
            for network in networks:
                self._announce("delete", network.name)
            self._table.load(then)

        self._networks.take_away(networks, gone)

    def network_ports(self, body: m.NetworkPorts, _: Call) -> dict[str, Any]:
        """Those of one container, or all."""
        found = self._store.ports(namespace=body.namespace or None, container=body.id or None)
        return {"ports": [msgspec.to_builtins(port) for port in found]}

    def network_names(self, _body: m.NetworkNames, _: Call) -> dict[str, Any]:
        """For the resolver."""
        return {"zones": names.zones(self._store.networks(), self._store.endpoints())}

    def network_check(self, body: m.NetworkCheck, call: Call) -> Later:
        """What is wanted beside what there is."""
        drift = Drift(self._wiring, self._store.networks(), self._store.endpoints(), self._path)
        text = self._table.text()

        def work() -> list[dict[str, Any]]:
            found = drift.look(mend=body.mend)
            found += drift.rules(self._table.name, text, mend=body.mend)
            return [*found, *drift.others(self._table.name)]

        def looked(result: Any) -> None:
            call.settle(refused(result) or {"findings": [*result, *self._removals.findings()]})

        self.work(work, looked)
        return LATER

    # The machinery

    def _hold_again(self, port: Port) -> None:
        """After a restart. One that somebody else took in between stays published: the rules come first."""
        try:
            self._held.take(port)
        except StorageError as error:
            self.log.warning("published port: %s", error)

    def _announce(self, verb: str, name: str) -> None:
        now = time.time_ns()
        event = m.EventsPublish(
            "default", f"/networks/{verb}", f"/networks/{verb}:{name}:{now}", {"name": name}, now
        )
        self.ask(event, self._logged)

    def _logged(self, result: Any) -> None:
        if isinstance(result, Exception):
            self.log.warning("%s", result)

    def _running(self, namespace: str, container: str) -> Path:
        """The namespace of a container that has one. Raises FailedPreconditionError."""
        path = self._path(namespace, container)
        if not netns.exists(path):
            raise FailedPreconditionError(
                f"container {container[:12]} has no network namespace; it is not running, or shares another's"
            )
        return path

    def _shared(self, namespace: str, mode: str) -> Path:
        return self._running(namespace, mode.removeprefix(wishes.SHARED))

    def _path(self, namespace: str, container: str) -> Path:
        check_identifier("namespace", namespace)
        check_identifier("container id", container)
        return self._directory / f"{namespace}+{container}"


def _key(body: m.NetworkAttach | m.NetworkDetach | m.NetworkConnect) -> str:
    return f"{body.namespace}/{body.id}"
