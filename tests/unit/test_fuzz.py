"""The targets of bin/fuzz for a moment, with hypothesis: seeds changed at random, JSON of likely words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, harmless

WORDS = st.sampled_from(
    [
        *(
            "schemaVersion",
            "mediaType",
            "config",
            "layers",
            "manifests",
            "digest",
            "size",
            "data",
            "platform",
        ),
        *("os", "architecture", "variant", "rootfs", "type", "diff_ids", "annotations", "subject", "urls"),
        *("artifactType", "Config", "RepoTags", "Layers", "Env", "Cmd", "User", "Labels"),
    ]
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), WORDS,
    st.sampled_from([2, "layers", "sha256:" + "a1" * 32, "application/vnd.oci.image.manifest.v1+json"]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)


DOCUMENTS = TREES.map(lambda tree: json.dumps(tree).encode())


@st.composite
def changed(draw, seeds):
    """A seed with some bytes replaced, inserted or taken away."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_gets_more_than_a_refusal(name):
    target, seeds = TARGETS[name]

    @settings(max_examples=200, database=None)
    @given(
        st.one_of(changed(seeds), TREES.map(lambda tree: json.dumps(tree).encode()), st.binary(max_size=600))
    )
    def holds(data):
        harmless(target, data)

    holds()
    for seed in seeds:
        target(seed)  # a seed is valid, or it would teach nothing
