"""What a method of containerd's API learns of its call."""

from types import SimpleNamespace

import pytest

from transport.codec import pack
from transport.errors import RemoteError
from transport.grpc.server import Call, _translated


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


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (lambda: pack({"limit": 10**30}), "INVALID_ARGUMENT"),
        (lambda: Call(SimpleNamespace(invocation_metadata=list)).namespace, "FAILED_PRECONDITION"),
        (lambda: int("x"), "UNKNOWN"),
    ],
    ids=["what cannot travel", "an error with a code", "a mistake of ours"],
)
def test_what_fails_is_a_status(cause, code):
    told, log = [], SimpleNamespace(exception=lambda *_: told.append("logged"))
    context = SimpleNamespace(abort=lambda status, _: told.append(status.name))
    with _translated(context, "method", log):
        cause()
    assert told == (["logged", code] if code == "UNKNOWN" else [code])
