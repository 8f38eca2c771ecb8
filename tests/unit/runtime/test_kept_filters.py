"""Filters that crun has made: for whom they are, and what is kept."""

import base64
import errno

import pytest

from actors.runtime import filters

PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
MADE = bytes(range(8)) * 3


@pytest.fixture
def program(tmp_path):
    file = tmp_path / "crun"
    file.write_bytes(b"\x7fELF")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def made(tmp_path):
    file = tmp_path / "runtime" / "c1" / filters.MADE
    file.parent.mkdir(parents=True)
    file.write_bytes(MADE)
    return file


def spec_of(profile=PROFILE, **annotations):
    return {"linux": {"seccomp": profile}, "annotations": annotations}


def test_what_was_made_of_a_profile_is_given_to_the_next_of_it(tmp_path, program, made):
    kept = tmp_path / "filters"
    assert filters.with_known(spec_of(), kept, program) == spec_of()
    filters.keep(spec_of(), kept, program, made)
    spec = spec_of(a="b")
    given = filters.with_known(spec, kept, program)
    assert given["annotations"] == {"a": "b", filters.ANNOTATION: base64.b64encode(MADE).decode()}
    assert given["linux"] == spec["linux"]
    assert spec == spec_of(a="b"), "it is the caller's"
    assert not filters.is_to_make(given)


def test_another_profile_and_another_program_are_made_anew(tmp_path, program, made):
    kept = tmp_path / "filters"
    filters.keep(spec_of(), kept, program, made)
    other = spec_of({**PROFILE, "defaultErrnoRet": 38})
    assert filters.with_known(other, kept, program) == other
    (tmp_path / "crun").write_bytes(b"\x7fELF of later")
    assert filters.with_known(spec_of(), kept, program) == spec_of()


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="no-linux"),
        pytest.param({"linux": {}, "annotations": None}, id="unconfined"),
        pytest.param(spec_of({**PROFILE, "flags": ["SECCOMP_FILTER_FLAG_LOG"]}), id="flags"),
        pytest.param(spec_of({**PROFILE, "listenerPath": "/s"}), id="listener"),
        pytest.param(spec_of(**{filters.ANNOTATION: "AAAA"}), id="its-own-bytes"),
        pytest.param(spec_of(**{"run.oci.seccomp_fail_unknown_syscall": "1"}), id="strict"),
    ],
)
def test_what_says_itself_what_is_to_become_of_it_is_left_alone(tmp_path, program, spec):
    assert not filters.is_to_make(spec)
    assert filters.with_known(spec, tmp_path, program) is spec


@pytest.mark.parametrize("data", [b"", b"1234567", bytes(8 * 4097)], ids=["empty", "cut-off", "too-long"])
def test_what_is_no_filter_is_not_kept(tmp_path, program, made, data):
    made.write_bytes(data)
    filters.keep(spec_of(), tmp_path / "filters", program, made)
    assert list((tmp_path / "filters").iterdir()) == []


def test_a_container_that_has_gone_leaves_none(tmp_path, program, made):
    made.unlink()
    filters.keep(spec_of(), tmp_path / "filters", program, made)
    assert filters.with_known(spec_of(), tmp_path / "filters", program) == spec_of()


def test_callers_with_ever_new_profiles_fill_nothing(tmp_path, program, made):
    for number in range(100):
        filters.keep(spec_of({**PROFILE, "defaultErrnoRet": number}), tmp_path / "filters", program, made)
    assert len(list((tmp_path / "filters").iterdir())) == 64


def test_what_a_killed_process_left_is_cleared(tmp_path, program, made):
    kept = tmp_path / "filters"
    filters.clear_unfinished(kept)
    filters.keep(spec_of(), kept, program, made)
    (complete,) = kept.iterdir()
    (kept / f"{complete.name}.of-c2").write_bytes(MADE[:8])
    filters.clear_unfinished(kept)
    assert list(kept.iterdir()) == [complete]


def test_a_full_disk_is_no_failure_of_a_container_that_has_started(tmp_path, program, made, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("actors.runtime.filters.os.fsync", full)
    filters.keep(spec_of(), tmp_path / "filters", program, made)
    assert filters.with_known(spec_of(), tmp_path / "filters", program) == spec_of()


@pytest.mark.parametrize("left", [b"", MADE[:9]], ids=["empty", "cut-off"])
def test_what_is_no_filter_is_not_given(tmp_path, program, made, left):
    """A container would run without one."""
    filters.keep(spec_of(), tmp_path / "filters", program, made)
    (kept,) = (tmp_path / "filters").iterdir()
    kept.write_bytes(left)
    assert filters.with_known(spec_of(), tmp_path / "filters", program) == spec_of()
