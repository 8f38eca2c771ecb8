"""Pulls with unpacking: actord beside containerd, podman and skopeo with umoci, and what nobody can beat.

Each pull is made on a new filesystem; daemons are up before the clock starts. The floors are those of one
processor: the blobs from the registry into nothing, their digests, their decompression.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.disk import new_filesystem
from bench.pairs import Comparison, in_turn, timed
from bench.peers import Actord, Containerd, Daemon
from storage.layer.compression import READ_BYTES, open_blob
from tests.e2e import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECE = 1 << 20


class Pulls:
    """Pulls of a Debian image in 1 and in 10 layers from `registry`, in `directory`."""

    def __init__(self, directory: Path, registry: str, rounds: int) -> None:
        self._directory, self._registry, self._rounds = directory, registry, rounds

    def comparisons(self) -> Iterator[Comparison]:
        """One for each form of the image."""
        layout = images.debian()
        for layers in ("1", "10"):
            yield self._comparison(layout, layers)

    def _comparison(self, layout: images.Layout, layers: str) -> Comparison:
        image = f"{self._registry}/library/debian:{layers}"
        images.push(layout, layers, image)
        blobs = layer_files(layout, layers)
        cases: dict[str, Callable[[], float]] = {
            "ctr images pull": partial(
                self._with_daemon, Containerd, "images", "pull", "--plain-http", image
            ),
            "actr pull": partial(self._with_daemon, Actord, "pull", image),
            "podman pull": partial(self._podman, image),
            "skopeo copy, umoci unpack": partial(self._skopeo_and_umoci, image),
            "floor: network": partial(self._network, blobs),
            "floor: digest": partial(_digest, blobs),
            "floor: decompression": partial(_decompression, blobs),
        }
        return Comparison(f"pull, {layers} layer(s)", "s", in_turn(cases, self._rounds))

    def _with_daemon(self, daemon: type[Daemon], *arguments: str) -> float:
        with new_filesystem(self._directory / "pull") as empty, daemon(empty / "daemon") as running:
            os.sync()  # the writing back of what came before is not this pull's
            return timed(running.client(*arguments))

    def _podman(self, image: str) -> float:
        """With overlayfs, as containerd and actord have it."""
        with new_filesystem(self._directory / "pull") as empty:
            policy = empty / "policy.json"
            policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
            where = ["--root", str(empty / "root"), "--runroot", str(empty / "run")]
            how = ["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]
            pull = ["pull", "-q", "--tls-verify=false", "--signature-policy", str(policy), image]
            os.sync()
            return timed(["podman", *where, *how, *pull])

    def _skopeo_and_umoci(self, image: str) -> float:
        with new_filesystem(self._directory / "pull") as empty:
            copy = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
            os.sync()
            copied = timed([*copy, f"docker://{image}", f"oci:{empty}/layout:1"])
            return copied + timed(["umoci", "unpack", "--image", f"{empty}/layout:1", f"{empty}/bundle"])

    def _network(self, blobs: list[Path]) -> float:
        """Everything over one connection, into nothing."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection(self._registry)
        buffer = bytearray(PIECE)
        for blob in blobs:
            connection.request("GET", f"/v2/library/debian/blobs/sha256:{blob.name}")
            answer = connection.getresponse()
            while answer.readinto(buffer):
                pass
        connection.close()
        return time.perf_counter() - began


def layer_files(layout: images.Layout, tag: str) -> list[Path]:
    """The layers of an image in a layout, the lowest first."""
    blobs = layout.directory / "blobs" / "sha256"
    index = json.loads((layout.directory / "index.json").read_text())["manifests"]
    key = "org.opencontainers.image.ref.name"
    digest = next(entry["digest"] for entry in index if entry["annotations"][key] == tag)
    manifest = json.loads((blobs / digest.partition(":")[2]).read_text())
    return [blobs / layer["digest"].partition(":")[2] for layer in manifest["layers"]]


def _digest(blobs: list[Path]) -> float:
    began = time.perf_counter()
    for blob in blobs:
        with blob.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == blob.name
    return time.perf_counter() - began


def _decompression(blobs: list[Path]) -> float:
    began = time.perf_counter()
    for blob in blobs:
        with blob.open("rb") as file:
            plain = open_blob(file)
            while plain.read(READ_BYTES):
                pass
    return time.perf_counter() - began
