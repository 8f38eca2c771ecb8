import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import Digest
from storage.errors import InvalidArgumentError, StorageError
from storage.image import media_types
from storage.image.chain import chain_ids
from storage.image.config import ImageConfig, parse_config
from storage.image.platform import Platform

DIFF_IDS = [Digest.of(b"lower"), Digest.of(b"upper")]
MINIMAL = {
    "os": "linux",
    "architecture": "arm64",
    "rootfs": {"type": "layers", "diff_ids": [str(digest) for digest in DIFF_IDS]},
}
RUN = {
    "Env": ["PATH=/bin", "EMPTY="],
    "Entrypoint": ["/entry"],
    "Cmd": ["a", ""],
    "User": "1000:users",
    "WorkingDir": "/srv",
    "Labels": {"a": "b"},
    "StopSignal": "SIGQUIT",
    "ExposedPorts": {"80/tcp": {}, "53/udp": None},
    "Volumes": {"/data": {}},
}


def parse(document, media_type=media_types.OCI_CONFIG):
    return parse_config(json.dumps(document).encode(), media_type)


@pytest.mark.parametrize("media_type", [media_types.OCI_CONFIG, media_types.DOCKER_CONFIG])
def test_a_full_config(media_type):
    config = parse(
        {
            **MINIMAL,
            "variant": "v8",
            "created": "2024-01-01T00:00:00Z",
            "author": "x",
            "history": [],
            "config": RUN,
        },
        media_type,
    )
    assert config == ImageConfig(
        platform=Platform("linux", "arm64", "v8"),
        diff_ids=tuple(DIFF_IDS),
        created="2024-01-01T00:00:00Z",
        author="x",
        env=("PATH=/bin", "EMPTY="),
        entrypoint=("/entry",),
        cmd=("a", ""),
        user="1000:users",
        working_dir="/srv",
        labels={"a": "b"},
        stop_signal="SIGQUIT",
        exposed_ports=("80/tcp", "53/udp"),
        volumes=("/data",),
    )
    assert config.args == ("/entry", "a", "")


def test_null_and_missing_mean_not_given():
    bare = ImageConfig(platform=Platform("linux", "arm64"), diff_ids=tuple(DIFF_IDS))
    assert parse(MINIMAL) == bare
    assert parse({**MINIMAL, "config": None, "created": None, "author": None, "variant": None}) == bare
    assert parse({**MINIMAL, "config": {}}) == bare
    assert parse({**MINIMAL, "config": dict.fromkeys(RUN)}) == bare
    assert parse({**MINIMAL, "config": {"Labels": {"a": None}}}).labels == {"a": ""}
    assert parse({**MINIMAL, "rootfs": {"type": "layers", "diff_ids": None}}).diff_ids == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"history": "text"},
        {"history": {"created": "text"}},
        {"history": ["text"]},
        {"os": None},
        {"os": 1},
        {"architecture": None},
        {"rootfs": None},
        {"rootfs": {}},
        {"rootfs": {"type": "base", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": "x"}},
        {"rootfs": {"type": "layers", "diff_ids": [1]}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:x"]}},
        {"rootfs": {"type": "layers", "diff_ids": ["unknown:x"]}},
        {"created": 5},
        {"config": []},
        {"config": {"Env": {}}},
        {"config": {"Env": [1]}},
        {"config": {"Env": ["a=\0b"]}},
        {"config": {"Entrypoint": "/bin/sh"}},
        {"config": {"Cmd": [["x"]]}},
        {"config": {"Cmd": ["a\0b"]}},
        {"config": {"User": 0}},
        {"config": {"User": "root\0"}},
        {"config": {"WorkingDir": ["/"]}},
        {"config": {"Labels": ["a"]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"StopSignal": 9}},
        {"config": {"ExposedPorts": ["80"]}},
        {"config": {"ExposedPorts": {"80": 1}}},
        {"config": {"Volumes": {"/a\0": {}}}},
        {"config": {"Volumes": "x"}},
    ],
)
def test_wrong_types_are_refused(wrong):
    with pytest.raises(InvalidArgumentError):
        parse({**MINIMAL, **wrong})


def test_the_config_of_an_artifact_is_never_parsed():
    for media_type in (media_types.OCI_EMPTY, "application/vnd.cncf.helm.config.v1+json", ""):
        with pytest.raises(InvalidArgumentError, match="not an image's"):
            parse_config(b"whatever this is", media_type)


@given(st.binary() | st.text().map(str.encode))
def test_nothing_but_a_storage_error_whatever_bytes_come(content):
    with pytest.raises(StorageError):
        parse_config(content, media_types.OCI_CONFIG)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(RUN)), json_values))
def test_nothing_but_a_storage_error_whatever_the_fields_hold(run):
    try:
        config = parse({**MINIMAL, "config": run})
    except StorageError:
        return
    assert config.args == config.entrypoint + config.cmd


def test_the_first_chain_id_is_the_diff_id_and_each_further_one_covers_all_below():
    third = Digest.of(b"third")
    chain = chain_ids([*DIFF_IDS, third])
    second = hashlib.sha256(f"{DIFF_IDS[0]} {DIFF_IDS[1]}".encode()).hexdigest()
    assert chain[0] == DIFF_IDS[0]
    assert str(chain[1]) == f"sha256:{second}"
    assert chain[2] == Digest.of(f"sha256:{second} {third}".encode())


@given(st.lists(st.binary(max_size=3).map(Digest.of), max_size=5))
def test_a_stack_and_its_lower_part_share_chain_ids(diff_ids):
    chain = chain_ids(diff_ids)
    assert len(chain) == len(diff_ids)
    assert chain_ids(diff_ids[:-1]) == chain[: len(diff_ids[:-1])]
