"""Hosts with daemons that know each other, and a registry on a machine of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import images
from daemon import CHECKOUT
from registry import Registry

from chaos.hosts import SETTINGS, Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = "10.77.0.100:5000"


@dataclass
class Lab:
    """Some hosts, and a registry on a machine of its own behind a wire that can be made slow."""

    hosts: Hosts
    registry: Registry

    def command(self, at: str, *words: object) -> list[str]:
        host = self.hosts[at]
        return [*host.inside(), f"{CHECKOUT}/bin/actr", "--address", str(host.socket), *map(str, words)]

    def actr(self, at: str, *words: object, check: int = 0) -> str:
        done = subprocess.run(
            self.command(at, *words),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == check, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def begin(self, at: str, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(at, *words),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def publish(self, name: str, *sizes: int) -> str:
        """An image of that many layers that cannot be compressed, at the registry."""
        layout = images.Layout(self.hosts.directory / f"layout-{name}")
        layers = [layout.add_layer(images.write_busybox), *map(layout.add_plain_layer, sizes)]
        layout.tag("latest", layout.add_image(layers, {"Cmd": ["sh"], "Env": [images.PATH]}))
        images.push(layout, "latest", f"{AT}/{name}:latest", self.registry.inside)
        return f"{AT}/{name}:latest"

    def forget(self, at: str, image: str) -> None:
        self.actr(at, "rmi", image)
        self.actr(at, "system", "prune")
        assert self.blobs(at) == {}

    def blobs(self, at: str) -> dict[str, int]:
        found = json.loads(self.actr(at, "content", "ls", "--format", "json"))
        return {one["digest"]: one["size"] for one in found}

    def sound(self, at: str) -> dict[str, Any]:
        """All blobs there, compared with their digests."""
        return self.hosts[at].ask("content.check", "content")

    def fetched(self) -> int:
        """Bytes of blobs that the registry has sent so far."""
        return sum(one.size for one in self.registry.served("GET", "/blobs/"))


@contextlib.contextmanager
def lab(count: int, directory: Path, settings: str = "") -> Iterator[Lab]:
    """So many hosts; SETTINGS is TOML for the table of the registry."""
    directory.mkdir()
    toml = f'{SETTINGS}[registry]\nplain_http = ["{AT}"]\n{settings}'
    with Hosts(count, directory, toml) as hosts:
        machine = hosts.wires.add("registry", 100)
        with Registry(directory / "registry", machine=machine) as registry:
            yield Lab(hosts, registry)
