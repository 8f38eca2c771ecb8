"""Messages and methods of containerd's API, from protos/ by way of api.binpb.

The names and numbers in protos/ are the interface. `bin/generate-api` compiles them into one set of
descriptors; message classes are made from it when they are first asked for, in a pool of their own: there is
no generated code. tests/unit/transport/test_grpc_interface.py checks that the set is what the texts say.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

SET: Final = Path(__file__).with_name("api.binpb")
PROTOS: Final = Path(__file__).with_name("protos")
WELL_KNOWN: Final = (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, timestamp_pb2, wrappers_pb2)


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Everything that is declared, and what it is made of."""
    found = descriptor_pool.DescriptorPool()
    known = set()
    for module in WELL_KNOWN:
        found.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        known.add(module.DESCRIPTOR.name)
    files = descriptor_pb2.FileDescriptorSet.FromString(SET.read_bytes())
    for one in files.file:
        if one.name not in known:
            found.AddSerializedFile(one.SerializeToString())
    return found


@cache
def message(name: str) -> Any:
    """The class of a message by its full name, for example `containerd.types.Mount`. Raises KeyError."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


def methods(service: str) -> dict[str, Any]:
    """Descriptors of a service's methods by name, for example of `containerd.services.version.v1.Version`."""
    return dict(pool().FindServiceByName(service).methods_by_name)
