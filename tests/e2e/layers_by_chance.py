"""Images drawn by chance as builders make them: what is unusual is in them, what is contradictory is not.

Contradictions (a whiteout of what the same layer makes, parents that are links, ...) are cases of their own
in test_layer_oracle.py, since tools differ about them.
"""

from random import Random

from tests.unit.layer.crafted import Tar, block, padded

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2711, 0o6555, 0o1644, 0o000)
DIRECTORY_MODES = (0o755, 0o700, 0o1777, 0o2775, 0o3770, 0o555)
OWNERS = (0, 1, 33, 1000, 65534, 100_000, 2_097_152, 4_294_967_294)
TIMES = (0, 1, 1_000_000_000, 2**31 - 1, 2**31, 2**32 + 5, 8_000_000_000)
STEPS = (
    *("file", "file", "file", "twice", "directory", "symlink", "link"),
    *("node", "whiteout", "opaque", "again", "odd", "sparse"),
)
LETTERS = (b"a", b"B", b"\xff\xfe", "ü".encode(), b" x", b"w\n", b"=", b"%2F", b"\\", b"-", b"n" * 120, b"*")


class Image:
    """Layers in the order they are made; `seen` is what their stack shows, path -> kind."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  # to be drawn again
        self.seen: dict[bytes, str] = {}
        self.layers = [self._layer() for _ in range(self._random.randint(1, 4))]

    def _layer(self) -> bytes:
        layer = _Layer(self._random, self.seen)
        for _ in range(self._random.randint(3, 40)):
            layer.step()
        return bytes(layer.tar)


class _Layer:
    def __init__(self, random: Random, seen: dict[bytes, str]) -> None:
        self._random, self._seen = random, seen
        self._below = dict(seen)
        self._prefix = random.choice((b"", b"./", b"/"))
        self._touched: set[bytes] = set()  # paths of this layer, and those that it removes
        self._files: list[bytes] = []
        self._dressed: dict[bytes, dict[str, object]] = {}
        self._hidden: set[bytes] = set()
        self.tar = Tar()
        if random.random() < 0.5:
            self.tar.dir(b"./", mtime=1_000_000_000)

    def step(self) -> None:
        getattr(self, f"_{self._random.choice(STEPS)}")()

    def _attributes(self, modes: tuple[int, ...]) -> dict[str, object]:
        draw = self._random
        fields: dict[str, object] = {
            "mode": draw.choice(modes), "uid": draw.choice(OWNERS), "gid": draw.choice(OWNERS),
            "mtime": draw.choice(TIMES),
        }  # fmt: skip
        xattrs = {}
        if draw.random() < 0.2:
            xattrs[draw.choice(("user.k", "user.ü", "user.e"))] = draw.choice((b"v", b"\0\n\xff", b""))
        if draw.random() < 0.1:
            xattrs["security.capability"] = CAPABILITY
        if xattrs:
            fields["xattrs"] = xattrs
        if draw.random() < 0.2:
            fields["pax"] = {b"mtime": draw.choice((b"1234567890.123456789", b"4294967300.5", b"7"))}
        return fields

    def _fresh(self) -> bytes | None:
        """A path below a directory, of which this layer knows nothing yet."""
        draw = self._random
        usable = [path for path, kind in self._seen.items() if kind == "dir" and path not in self._hidden]
        parent = draw.choice([b"", *usable])
        path = (parent + b"/" if parent else b"") + draw.choice(LETTERS) + draw.choice(LETTERS)
        if path in self._touched or self._seen.get(path) == "dir" or len(path) > 2000:
            return None
        return path

    def _knows(self, path: bytes) -> bool:
        """Whether this layer has said anything of it or what is in it."""
        return any(one == path or one.startswith(path + b"/") for one in self._touched)

    def _add(self, path: bytes, kind: str) -> bytes:
        self._touched.add(path)
        self._seen[path] = kind
        return self._prefix + path

    def _data(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 511, 512, 513, 5000)))

    def _file(self) -> None:
        if path := self._fresh():
            self._dressed[path] = self._attributes(MODES)
            self.tar.file(self._add(path, "file"), self._data(), **self._dressed[path])
            self._files.append(path)

    def _twice(self) -> None:
        """Some builders write a file twice: the last one counts."""
        if self._files and (path := self._random.choice(self._files)):
            self._files = [one for one in self._files if one != path]
            self.tar.file(self._prefix + path, self._data(), **self._attributes(MODES))

    def _directory(self) -> None:
        if path := self._fresh():
            if self._below.get(path) not in (None, "dir"):
                return
            self.tar.dir(self._add(path, "dir") + b"/", **self._attributes(DIRECTORY_MODES))

    def _again(self) -> None:
        """A directory of a lower layer, with attributes of its own."""
        known = [p for p, kind in self._below.items() if kind == "dir" and self._seen.get(p) == kind]
        if known and not self._knows(path := self._random.choice(known)):
            self.tar.dir(self._add(path, "dir"), **self._attributes(DIRECTORY_MODES))

    def _symlink(self) -> None:
        if path := self._fresh():
            target = self._random.choice((b"gone", b"/etc/passwd", b"../../../x", b"t" * 150, b"\xff", b"."))
            attributes = self._attributes(MODES)
            attributes.pop("xattrs", None)
            attributes.pop("mode")
            self.tar.symlink(self._add(path, "symlink"), target, **attributes)

    def _link(self) -> None:
        if self._files and (path := self._fresh()):
            target = self._random.choice(self._files)
            self.tar.hardlink(self._add(path, "file"), self._prefix + target, **self._dressed[target])

    def _node(self) -> None:
        if path := self._fresh():
            kind = self._random.choice((b"3", b"4", b"6"))
            major, minor = (0, 0) if kind == b"6" else self._random.choice(((1, 3), (7, 0), (259, 70_000)))
            attributes = self._attributes(MODES)
            attributes.pop("xattrs", None)
            self.tar.add(self._add(path, "node"), kind, major=major, minor=minor, **attributes)

    def _whiteout(self) -> None:
        known = [path for path in self._below if path in self._seen and path not in self._touched]
        if not known:
            return
        path = self._random.choice(known)
        below = [one for one in self._seen if one.startswith(path + b"/")]
        parent, _, name = path.rpartition(b"/")
        if self._knows(path) or parent in self._hidden or len(name) > 245:
            return
        self.tar.file(self._prefix + (parent + b"/" if parent else b"") + b".wh." + name)
        for one in [path, *below]:
            del self._seen[one]
            self._touched.add(one)
            self._hidden.add(one)

    def _opaque(self) -> None:
        known = [p for p, kind in self._below.items() if kind == "dir" and p in self._seen]
        known = [path for path in known if path not in self._touched]
        if not known:
            return
        path = self._random.choice(known)
        below = [one for one in self._seen if one.startswith(path + b"/")]
        if self._knows(path):
            return
        self.tar.dir(self._add(path, "dir") + b"/", **self._attributes(DIRECTORY_MODES))
        self.tar.file(self._prefix + path + b"/.wh..wh..opq")
        for one in below:
            del self._seen[one]
            self._below.pop(one, None)

    def _odd(self) -> None:
        """A name that GNU tar writes its own way, or a file of the old types."""
        if path := self._fresh():
            if self._random.random() < 0.5:
                name = self._add(path, "file")
                self.tar.long(b"L", name)
                self.tar.file(name[:90], self._data(), mode=0o640, mtime=5)
            elif len(path) < 90:
                self.tar.add(self._add(path, "file"), b"\0", self._data(), mtime=9)

    def _sparse(self) -> None:
        """As `tar --sparse --format=posix` writes it: a map, then what is not zeros."""
        if path := self._fresh():
            name = self._add(path, "file")
            text = b"2\n4096\n5\n20000\n0\n"
            records = {
                b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": name,
                b"GNU.sparse.realsize": b"20000",
            }  # fmt: skip
            self.tar.pax(records)

            data = padded(text) + b"hello"
            self.tar.raw(block(b"GNUSparseFile.0/f", b"0", size=len(data), mode=0o644, mtime=77)).raw(data)
