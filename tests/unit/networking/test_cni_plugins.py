"""Plugins of the Container Network Interface that are not installed any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.networking.cni import Attachment, Cni
from storage.errors import FailedPreconditionError
from storage.networks import Endpoint, Network

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = """#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND ${0##*/}" >> "$CNI_PATH/said"
echo '{"ips": [{"address": "10.198.7.2/24"}]}'
"""
FIRST = {"type": "first", "ipam": {"type": "leases"}}


@pytest.fixture
def install(tmp: Path) -> Callable[[str], Path]:
    """Make a plugin that says what it was asked for."""

    def made(name: str) -> Path:
        path = tmp / name
        path.write_text(PLUGIN)
        path.chmod(0o700)
        return path

    return made


def _network(*plugins: dict[str, Any]) -> Network:
    config = {"cniVersion": "1.0.0", "name": "plugged", "plugins": list(plugins)}
    return Network("plugged", "cni", "", (), (), (), options={"config": config})


@pytest.mark.parametrize(
    ("gone", "asked"),
    [("second", ["DEL first"]), ("first", ["DEL second"]), ("leases", ["DEL second"])],
)
def test_one_that_is_gone_is_passed_over_and_the_others_are_asked(
    tmp: Path, install: Callable[[str], Path], caplog: pytest.LogCaptureFixture, gone: str, asked: list[str]
):
    installed = {name: install(name) for name in ("first", "leases", "second")}
    cni, end = Cni(str(tmp), tmp / "cni"), Attachment(Endpoint("plugged", "n", "c", 0), tmp / "none")
    assert cni.add(_network(FIRST, {"type": "second"}), end) == ("10.198.7.2/24",)
    installed[gone].unlink()
    (tmp / "said").unlink()
    cni.delete(end)
    assert (tmp / "said").read_text().splitlines() == asked
    assert list((tmp / "cni").iterdir()) == []
    (warning,) = caplog.messages
    assert f"{gone} is gone" in warning


def test_one_that_refuses_is_asked_again(tmp: Path, install: Callable[[str], Path]):
    plugin = install("first")
    cni, end = Cni(str(tmp), tmp / "cni"), Attachment(Endpoint("plugged", "n", "c", 0), tmp / "none")
    cni.add(_network({"type": "first"}), end)
    plugin.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(FailedPreconditionError, match="cni plugin first DEL"):
        cni.delete(end)
    install("first")
    cni.delete(end)
    assert list((tmp / "cni").iterdir()) == []
