from __future__ import annotations

import pytest

from transport.inner import address_of


@pytest.mark.parametrize("peer", [b"metadata/3", b"container/default/0f/12"])
def test_an_actors_address_is_its_routing_id(peer):
    assert address_of(peer) == peer.decode()


@pytest.mark.parametrize(
    "peer", [b"~zz/1", b"\x00abc/", b"\x00\x01\x02\x03\x04", b"x/", b"\xff/1", b"a" * 250 + b"/1"]
)
def test_any_other_id_is_written_in_hexadecimal(peer):
    assert address_of(peer) == f"~{peer.hex()}"
