"""What a container gets when neither image nor caller asks for anything, and how both are merged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import default_spec
from actors.runtime.annotations import image_annotations
from actors.runtime.default_spec import Place, build_spec
from actors.runtime.errors import InvalidSpecError
from actors.runtime.users import Identity
from actors.runtime.wishes import Wishes

IMAGE = {
    "Entrypoint": ["/entry"],
    "Cmd": ["serve", "--all"],
    "Env": ["PATH=/image", "HOME=/from-image", "EMPTY="],
    "WorkingDir": "/srv",
}


def spec(config=IMAGE, identity=None, **options):
    place = {"container_id": "c1", "namespace": "default", "image": "busybox:1"}
    for name in ("container_id", "rootfs", "network_path", "host_network"):
        if name in options:
            place[name] = options.pop(name)
    place["mounts"] = options.pop("oci_mounts", ())
    return build_spec(config, Wishes(**options), Place(**place), identity or Identity(home="/root"))


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        (IMAGE, {}, ["/entry", "serve", "--all"]),
        (IMAGE, {"args": ("other",)}, ["/entry", "other"]),
        (IMAGE, {"entrypoint": ("/mine",)}, ["/mine"]),
        (IMAGE, {"entrypoint": ("/mine",), "args": ("a",)}, ["/mine", "a"]),
        (IMAGE, {"entrypoint": (), "args": ("sh",)}, ["sh"]),
        ({"Cmd": ["sh"]}, {}, ["sh"]),
        ({"Entrypoint": None, "Cmd": ["sh"]}, {}, ["sh"]),
        ({"Entrypoint": ["/e"], "Cmd": None}, {}, ["/e"]),
        ({}, {"args": ("sh",)}, ["sh"]),
    ],
)
def test_what_is_executed(config, options, expected):
    assert spec(config, **options)["process"]["args"] == expected


@pytest.mark.parametrize("config", [{}, {"Cmd": []}, {"Entrypoint": None, "Cmd": None}, {"Cmd": [""]}])
def test_nothing_to_execute_names_the_image(config):
    with pytest.raises(InvalidSpecError, match="image busybox:1 names no program") as caught:
        spec(config)
    assert caught.value.code == "invalid_argument"


def test_the_image_decides_over_defaults_and_the_caller_over_the_image():
    env = spec(env=("EMPTY=full", "MORE=1"))["process"]["env"]
    assert env == ["PATH=/image", "HOME=/from-image", "EMPTY=full", "MORE=1"]
    env = spec({"Cmd": ["sh"]}, terminal=True)["process"]["env"]
    assert env == [f"PATH={default_spec.DEFAULT_PATH}", "HOME=/root", "TERM=xterm"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Env", ["NO-EQUALS"]),
        ("Env", ["=x"]),
        ("Env", [3]),
        ("Env", {"A": "b"}),
        ("Cmd", "sh -c x"),
        ("Cmd", ["a\0b"]),
        ("Entrypoint", [["sh"]]),
        ("Entrypoint", ["x"] * 5000),
        ("WorkingDir", "relative"),
        ("WorkingDir", 7),
    ],
)
def test_a_malformed_image_is_refused(key, value):
    with pytest.raises(InvalidSpecError):
        spec({**IMAGE, key: value})


def test_where_it_runs():
    assert spec()["process"]["cwd"] == "/srv"
    assert spec(cwd="/tmp")["process"]["cwd"] == "/tmp"
    assert spec({"Cmd": ["sh"], "WorkingDir": ""})["process"]["cwd"] == "/"


def test_who_runs_it():
    process = spec(identity=Identity(1, 2, (2, 10), "/h"))["process"]
    assert process["user"] == {"uid": 1, "gid": 2, "additionalGids": [2, 10]}


def test_the_safe_defaults():
    found = spec()
    process, linux = found["process"], found["linux"]
    assert process["noNewPrivileges"] is True
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
    capabilities = process["capabilities"]
    assert set(capabilities) == {"bounding", "effective", "permitted"}
    assert set(capabilities["bounding"]) == set(default_spec.CAPABILITIES)
    assert not {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SYS_PTRACE"} & set(
        default_spec.CAPABILITIES
    )
    assert [entry["type"] for entry in linux["namespaces"]] == ["pid", "ipc", "uts", "mount", "network"]
    assert linux["cgroupsPath"] == "/actord/default/c1"
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    rules = linux["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert all(rule["allow"] and rule["type"] == "c" for rule in rules[1:])
    assert {"allow": True, "type": "c", "major": 136, "access": "rwm"} in rules
    assert [mount["destination"] for mount in found["mounts"]][:2] == ["/proc", "/dev"]
    assert "ro" in next(mount for mount in found["mounts"] if mount["destination"] == "/sys")["options"]


def test_networks():
    def network(**options):
        found = spec(**options)["linux"]
        return [one for one in found["namespaces"] if one["type"] == "network"], "sysctl" in found

    assert network() == ([{"type": "network"}], True)
    assert network(network_path="/run/n1") == ([{"type": "network", "path": "/run/n1"}], True)
    # A sysctl would change the host's own network.
    assert network(host_network=True) == ([], False)


def test_limits():
    resources = spec(memory=1 << 26, cpus=1.5, pids_limit=100)["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 26}
    assert resources["cpu"] == {"period": 100_000, "quota": 150_000}
    assert resources["pids"] == {"limit": 100}
    assert set(spec()["linux"]["resources"]) == {"devices"}


def test_names_mounts_and_root():
    mount = {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]}
    found = spec(
        container_id="x" * 76, readonly=True, rootfs="/r", oci_mounts=(mount,), annotations={"a": "b"}
    )
    assert found["hostname"] == "x" * 64
    assert found["root"] == {"path": "/r", "readonly": True}
    assert found["mounts"][-1] == mount
    assert found["annotations"] == {"a": "b"}
    assert default_spec.mount_destinations(found)[-1] == "/data"
    assert spec(hostname="web")["hostname"] == "web"


def test_two_specifications_share_nothing():
    first, second = spec(), spec()
    first["linux"]["maskedPaths"].clear()
    first["mounts"][0]["options"].clear()
    assert second == spec()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["Entrypoint", "Cmd", "Env", "WorkingDir"]), JSON))
def test_any_image_gives_a_specification_or_a_refusal(config):
    try:
        found = spec(config)
    except InvalidSpecError:
        return
    assert json.loads(json.dumps(found)) == found
    assert all(isinstance(word, str) for word in found["process"]["args"])


def test_annotations_of_an_image():
    image = {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "author": "",
        "created": None,
        "config": {
            "StopSignal": "SIGINT",
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Labels": {"org.opencontainers.image.os": "label wins", "mine": "", "bad": 3},
        },
    }
    assert image_annotations(image) == {
        "org.opencontainers.image.os": "label wins",
        "org.opencontainers.image.architecture": "arm64",
        "org.opencontainers.image.variant": "v8",
        "org.opencontainers.image.stopSignal": "SIGINT",
        "org.opencontainers.image.exposedPorts": "80/tcp,53/udp",
        "mine": "",
    }


@pytest.mark.parametrize(
    "label",
    [
        "run.oci.hooks.stdout",
        "org.systemd.property.ExecStop",
        "containerd.io/restart.status",
        "module.wasm.image/variant",
    ],
)
def test_a_label_that_a_runtime_would_obey_is_left_out(label):
    assert image_annotations({"config": {"Labels": {label: "x", "kept": "y"}}}) == {"kept": "y"}


@given(st.dictionaries(st.sampled_from(["os", "config", "os.features", "author"]), JSON))
def test_any_image_gives_annotations_of_text(image):
    assert all(isinstance(value, str) for value in image_annotations(image).values())
