"""What a removal that was killed in the middle leaves is removed by the next one."""

from pathlib import Path

import pytest

from actors.networking.cni import Cni
from actors.networking.wiring import Wiring
from storage.networks import Endpoint, Network

pytestmark = pytest.mark.root


def test_a_file_that_is_no_namespace_any_more_is_in_nobodys_way(tmp: Path):
    left = tmp / "ns+c"
    left.touch()
    network = Network("n", "bridge", "bffffffffff0", ("10.193.0.0/24",), ("10.193.0.1",))
    Wiring("ffffffff", Cni("", tmp)).remove_endpoint(network, Endpoint("n", "ns", "c", 0), left)
    assert left.exists()  # the namespace's own removal takes it
