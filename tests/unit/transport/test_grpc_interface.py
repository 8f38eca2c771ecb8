"""containerd's API as it is declared, and as it is compiled."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from transport.grpc import interface

ROOT = Path(__file__).resolve().parents[3]
SERVICES = sorted(
    f"{re.search(r'^package (.*);', text, re.MULTILINE)[1]}.{name}"
    for text in (path.read_text() for path in interface.PROTOS.glob("*.proto"))
    for name in re.findall(r"^service (\w+)", text, re.MULTILINE)
)


def test_the_compiled_set_is_what_the_texts_say(tmp):
    names = sorted(path.name for path in interface.PROTOS.glob("*.proto"))
    command = [sys.executable, "-P", "-m", "grpc_tools.protoc", "-I.", "--include_imports"]
    subprocess.run(
        [*command, f"--descriptor_set_out={tmp}/api", *names], cwd=interface.PROTOS, check=True, timeout=60
    )
    fresh, kept = (
        {one.name: one for one in descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file}
        for path in (tmp / "api", interface.SET)
    )
    assert fresh == kept, "run bin/generate-api"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_methods_whose_messages_can_be_made(service):
    found = interface.methods(service)
    assert found
    for method in found.values():
        assert interface.message(method.input_type.full_name)().SerializeToString() == b""
        assert interface.message(method.output_type.full_name)().SerializeToString() == b""


def test_a_message_survives_the_wire():
    make = interface.message("containerd.services.tasks.v1.CreateTaskRequest")
    asked = make(container_id="c", stdin="/i", terminal=True)
    asked.rootfs.add(type="overlay", source="overlay", options=["ro"])
    assert make.FromString(asked.SerializeToString()) == asked
    # Field numbers are the interface: 1 is the id, 3 a mount, 4 standard input, 7 the terminal.
    assert asked.SerializeToString() == (
        b"\x0a\x01c\x1a\x16\x0a\x07overlay\x12\x07overlay\x22\x02ro\x22\x02/i8\x01"
    )
