import platform as python_platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError
from storage.image.platform import Platform, amd64_level, host_platform, parse_platform, preference

V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
names = st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/3", "linux/amd64/v3"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("armv6l", "linux/arm/v6"),
        ("i686", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/s390x", "linux/s390x"),
    ],
)
def test_people_write_platforms_in_many_ways(text, normal):
    assert str(parse_platform(text)) == normal
    assert parse_platform(normal) == parse_platform(text)


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "linux//v8", "a/b/c/d", "linux/am d64", "x" * 65, "l\n/a", "\u0661"]
)
def test_malformed_platforms_are_named(text):
    with pytest.raises(InvalidArgumentError, match="os/architecture"):
        parse_platform(text)


@given(st.builds(Platform, names, names, names | st.just("")))
def test_normalising_twice_is_normalising_once(platform):
    assert platform.normalise().normalise() == platform.normalise()
    assert preference(platform, platform) is not None


def ordered(wanted, offers):
    wanted = parse_platform(wanted)
    ranked = [(preference(wanted, parse_platform(offer)), offer) for offer in offers]
    return [offer for rank, offer in sorted(pair for pair in ranked if pair[0] is not None)]


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/386", ["linux/386"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v5", ["linux/arm/v5"]),
        ("linux/riscv64", ["linux/riscv64"]),
        ("linux/ppc64le/power9", ["linux/ppc64le/power9"]),
        ("linux/ppc64le", ["linux/ppc64le"]),
        ("windows/amd64", ["windows/amd64"]),
    ],
)
def test_the_highest_variant_that_runs_is_best(wanted, order):
    everything = [
        *("linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/arm64", "linux/arm64/v9"),
        *("linux/386", "linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4", "windows/amd64"),
        *("linux/riscv64", "linux/ppc64le", "linux/ppc64le/power9", "unknown/unknown", "linux/s390x"),
    ]
    assert ordered(wanted, everything) == order


def test_variants_with_a_minor_number_compare_as_numbers():
    assert ordered("linux/arm64/v8.10", ["linux/arm64/v8.9", "linux/arm64/v8.11", "linux/arm64/v8.2"]) == [
        "linux/arm64/v8.9",
        "linux/arm64/v8.2",
    ]


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse sse2", ""),
        (V2, "v2"),
        (V3, "v3"),
        (f"{V3} avx512bw avx512cd avx512dq avx512f avx512vl", "v4"),
        ("avx2 avx512f", ""),
    ],
)
def test_the_level_of_an_amd64_processor(flags, level):
    assert amd64_level(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: x\n") == level


def test_no_flags_no_level():
    assert amd64_level("") == ""


def test_this_machine_runs_its_own_images():
    host = host_platform()
    assert host == host.normalise()
    assert host.os == "linux"
    assert preference(host, Platform("linux", python_platform.machine())) is not None
