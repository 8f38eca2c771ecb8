"""What a method of containerd's API learns of its call."""

from types import SimpleNamespace

import pytest

from transport.errors import RemoteError
from transport.grpc.server import Call


def call(**headers):
    return Call(SimpleNamespace(invocation_metadata=lambda: list(headers.items())))


def test_the_namespace_is_that_of_the_header():
    assert call(**{"containerd-namespace": "k8s.io"}).namespace == "k8s.io"
    with pytest.raises(RemoteError, match="namespace is required") as raised:
        _ = call().namespace
    assert raised.value.code == "failed_precondition"


@pytest.mark.parametrize("name", ["a b", "-a", "../a", "a/b", "a" * 77, "a\n"])
def test_what_can_be_no_namespace_is_not_an_empty_one(name):
    """A list of what is in it would be empty, and hide the mistake."""
    with pytest.raises(RemoteError, match="namespace") as raised:
        _ = call(**{"containerd-namespace": name}).namespace
    assert raised.value.code == "invalid_argument"
