"""The tar reader on archives made by hand: formats, extension headers, sparse files, malformed input."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError
from storage.layer.header import Entry, Kind
from storage.layer.limits import Limits
from storage.layer.tar import TarReader
from storage.layer.tar_writer import headers
from tests.unit.layer.crafted import BLOCK, Tar, base256, block, octal, padded, sealed


def reader(data, chunk=1 << 20, limits=None):
    stream = io.BytesIO(bytes(data))
    return TarReader(lambda: stream.read(chunk), limits or Limits())


def only(data, **options):
    (entry,) = list(reader(data, **options))
    return entry


def contents(data, chunk=1 << 20):
    archive = reader(data, chunk)
    return [(entry.name, b"".join(archive.body())) for entry in archive]


def test_ustar_fields():
    entry = only(Tar().raw(block(b"name", mode=0o4755, uid=1, gid=2, mtime=3, prefix=b"some/where")))
    assert (entry.name, entry.kind, entry.mode) == (b"some/where/name", Kind.REGULAR, 0o4755)
    assert (entry.uid, entry.gid, entry.mtime_ns, entry.size) == (1, 2, 3_000_000_000, 0)


def test_prefix_is_not_read_from_gnu_headers():
    assert only(Tar().raw(block(b"name", magic=b"ustar  \0", prefix=b"0123"))).name == b"name"


def test_v7_directory_by_its_slash():
    entry = only(Tar().raw(block(b"d/", b"\0", magic=bytes(8))))
    assert entry.kind is Kind.DIRECTORY


@pytest.mark.parametrize("flag", list(b"01234567"))
def test_every_posix_type(flag):
    kinds = [Kind.REGULAR, Kind.HARDLINK, Kind.SYMLINK, Kind.CHARACTER, Kind.BLOCK, Kind.DIRECTORY, Kind.FIFO]
    entry = only(Tar().raw(block(b"f", bytes([flag]), link=b"to", major=1, minor=2)))
    assert entry.kind is [*kinds, Kind.REGULAR][flag - ord("0")]
    assert entry.device == ((1, 2) if flag in b"34" else (0, 0))


@pytest.mark.parametrize("flag", [b"8", b"A", b"D", b"M", b"V", b"N", b"\xff"])
def test_unknown_type_is_refused(flag):
    with pytest.raises(InvalidArgumentError, match="unknown tar type"):
        list(reader(Tar().raw(block(b"f", flag))))


def test_base_256_numbers():
    entry = only(Tar().raw(block(b"f", uid=4294967294, gid=3_000_000_000, mtime=-5)))
    assert (entry.uid, entry.gid, entry.mtime_ns) == (4294967294, 3_000_000_000, -5_000_000_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"uid": 4294967295},
        {"gid": 1 << 32},
        {"uid": -1},
        {"size": -512},
        {"mtime": 1 << 64},
        {"flag": b"3", "major": 1 << 32},
        {"flag": b"4", "minor": 1 << 20},
        {"flag": b"4", "major": 4096},
    ],
)
def test_numbers_out_of_range(fields):
    with pytest.raises(InvalidArgumentError):
        list(reader(Tar().raw(block(b"f", **fields))))


@pytest.mark.parametrize("text", [b"0o17\0", b"1_0\0", b"+1\0", b"8\0", b"x"])
def test_numbers_that_are_not_octal(text):
    with pytest.raises(InvalidArgumentError, match="not an octal number"):
        list(reader(Tar().raw(block(b"f", uid=text))))


def test_checksum_is_verified():
    with pytest.raises(InvalidArgumentError, match="checksum"):
        list(reader(Tar().raw(block(b"f", checksum=1))))


def test_signed_checksum_of_old_tars():
    name = b"caf\xe9"
    unsigned = sum(sealed(block(name))) - sum(block(name)[148:156]) + 256
    assert only(Tar().raw(block(name, checksum=unsigned - 256))).name == name


def test_gnu_long_name_and_link():
    name, link = b"n" * 300, b"l" * 400
    entry = only(Tar().long(b"L", name).long(b"K", link).raw(block(b"short", b"2", link=b"short")))
    assert (entry.name, entry.link) == (name, link)


def test_pax_overrides_and_does_not_leak_into_the_next_entry():
    values = {
        b"path": b"p" * 200, b"size": b"3", b"uid": b"5", b"gid": b"6", b"mtime": b"12.25",
        b"SCHILY.xattr.user.a": b"x=\n\0y", b"uname": b"ignored",
    }  # fmt: skip
    archive = reader(Tar().pax(values).raw(block(b"f", size=0)).raw(b"abc").file("g"))
    entry = archive.next()
    assert (entry.name, entry.size, entry.uid, entry.gid) == (b"p" * 200, 3, 5, 6)
    assert entry.mtime_ns == 12_250_000_000
    assert entry.xattrs == {b"user.a": b"x=\n\0y"}
    assert b"".join(archive.body()) == b"abc"
    following = archive.next()
    assert (following.name, following.uid, following.xattrs) == (b"g", 0, {})


def test_global_pax_headers_are_ignored():
    assert only(Tar().pax({b"path": b"evil", b"uid": b"9"}, b"g").file("f")).name == b"f"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [(b"1", 10**9), (b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"0.1234567899", 123_456_789)],
)
def test_pax_times(text, nanoseconds):
    assert only(Tar().pax({b"mtime": text}).file("f")).mtime_ns == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        b"5 a=b\n",
        b"7 a=b\n",
        b"06 ab\n",
        b"a=b\n",
        b"99999999999999999999999 a=b\n",
        b"6 a=bc",
        b"-6 a=b\n",
        b"0 ",
        b"6 =bb\n",
    ],
)
def test_malformed_pax_records(text):
    with pytest.raises(InvalidArgumentError):
        list(reader(Tar().raw(block(b"pax", b"x", size=len(text))).raw(text).file("f")))


@pytest.mark.parametrize("key", [b"size", b"uid", b"mtime"])
@pytest.mark.parametrize("value", [b"-1x", b"1e3", b"0x1", b" 1", b"9" * 30])
def test_malformed_pax_numbers(key, value):
    with pytest.raises(InvalidArgumentError):
        list(reader(Tar().pax({key: value}).file("f")))


def test_archive_must_not_end_behind_an_extension():
    with pytest.raises(InvalidArgumentError, match="extension header"):
        list(reader(Tar().pax({b"path": b"p"})))


def test_lone_zero_block():
    with pytest.raises(InvalidArgumentError, match="lone zero block"):
        list(reader(block(b"f") + bytes(BLOCK) + block(b"g") + bytes(2 * BLOCK)))


def test_end_without_zero_blocks_is_an_end():
    assert [name for name, _ in contents(block(b"f"))] == [b"f"]
    assert contents(b"") == []


@pytest.mark.parametrize("length", [1, 511, 513, 1023, 1030])
def test_cut_off(length):
    with pytest.raises(InvalidArgumentError, match="cut off"):
        list(reader(bytes(Tar().file("f", b"x" * 600))[:length]))


@pytest.mark.parametrize("chunk", [1, 7, 512, 1000, 1 << 20])
def test_chunks_of_any_size(chunk):
    tar = Tar().file("a", b"A" * 1000).file("n" * 150, b"").file("c", b"C" * 513)
    assert contents(tar, chunk) == [(b"a", b"A" * 1000), (b"n" * 150, b""), (b"c", b"C" * 513)]


def test_unread_bodies_are_skipped():
    assert [entry.name for entry in reader(Tar().file("a", b"x" * 5000).file("b"))] == [b"a", b"b"]


def test_links_and_directories_carry_no_data():
    tar = Tar().raw(block(b"l", b"1", size=4096, link=b"x")).raw(block(b"d", b"5", size=512)).file("f")
    assert [entry.name for entry in reader(tar)] == [b"l", b"d", b"f"]


SEGMENTS = [(512, 4), (4096, 3), (8192, 0)]


def sparse_old_gnu(segments=SEGMENTS, real=8192):
    stored = sum(length for _, length in segments)
    head = bytearray(block(b"s", b"S", size=stored, magic=b"ustar  \0"))
    slots = b"".join(octal(offset, 12) + octal(length, 12) for offset, length in segments)
    head[386 : 386 + 96] = slots[:96].ljust(96, b"\0")
    head[482] = len(slots) > 96
    head[483:495] = octal(real, 12)
    extra = b""
    for start in range(96, len(slots), 504):
        extra += slots[start : start + 504].ljust(504, b"\0") + bytes([start + 504 < len(slots)]) + bytes(7)
    return Tar().raw(sealed(head)).raw(extra)


def sparse_pax(records, data=b"abcdefg"):
    return Tar().pax(records).raw(block(b"GNUSparseFile.0/s", size=len(data))).raw(data)


def sparse_00():
    pairs = [(b"GNU.sparse.size", b"8192"), (b"GNU.sparse.numblocks", b"3")]
    for offset, length in SEGMENTS:
        pairs += [(b"GNU.sparse.offset", b"%d" % offset), (b"GNU.sparse.numbytes", b"%d" % length)]
    return sparse_pax([*pairs, (b"GNU.sparse.name", b"s")])


def sparse_01(mapped=b"512,4,4096,3,8192,0"):
    return sparse_pax({b"GNU.sparse.size": b"8192", b"GNU.sparse.name": b"s", b"GNU.sparse.map": mapped})


def sparse_10(mapped=b"3\n512\n4\n4096\n3\n8192\n0\n"):
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": b"s",
        b"GNU.sparse.realsize": b"8192",
    }
    return sparse_pax(records, padded(mapped) + b"abcdefg")


@pytest.mark.parametrize("make", [sparse_old_gnu, sparse_00, sparse_01, sparse_10])
@pytest.mark.parametrize("chunk", [100, 1 << 20])
def test_sparse_formats(make, chunk):
    tar = make()
    if make is sparse_old_gnu:
        tar.raw(b"abcdefg")
    archive = reader(tar.file("next", b"n"), chunk)
    entry = archive.next()
    assert (entry.name, entry.size, entry.stored, entry.sparse) == (b"s", 8192, 7, SEGMENTS)
    assert b"".join(archive.read(4)) == b"abcd"
    assert b"".join(archive.body()) == b"efg"
    assert archive.next().name == b"next"


def test_old_gnu_sparse_with_extension_blocks():
    segments = [(1024 * number, 1) for number in range(60)]
    tar = sparse_old_gnu(segments, 1 << 20).raw(b"z" * 60).file("next")
    first, second = list(reader(tar))
    assert (first.sparse, second.name) == (segments, b"next")


@pytest.mark.parametrize(
    "tar",
    [
        sparse_old_gnu([(0, 4), (2, 3)]),
        sparse_old_gnu([(0, 7)], 3),
        sparse_01(b"512,4,4096"),
        sparse_01(b"512,4,4096,4"),
        sparse_01(b"512,-4"),
        sparse_10(b"3\n512\n4\n"),
        sparse_10(b"99999999999999999999\n"),
        sparse_10(b"x\n"),
        sparse_10(b"1" * 600),
        sparse_pax(
            [(b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.numbytes", b"7"), (b"GNU.sparse.offset", b"0")]
        ),
    ],
)
def test_malformed_sparse_maps(tar):
    with pytest.raises(InvalidArgumentError):
        list(reader(tar.raw(b"abcdefg")))


def test_limits():
    tar = Tar().file("a").file("b").file("c")
    with pytest.raises(InvalidArgumentError, match="more than 2 headers"):
        list(reader(tar, limits=Limits(entries=2)))
    with pytest.raises(InvalidArgumentError, match="longer than 10 bytes"):
        list(reader(Tar().file("n" * 11), limits=Limits(path_bytes=10)))
    with pytest.raises(InvalidArgumentError, match="extension header of"):
        list(reader(Tar().file("n" * 200), limits=Limits(header_bytes=100)))
    with pytest.raises(InvalidArgumentError, match="above the limit"):
        list(reader(sparse_01(), limits=Limits(total_bytes=8000)))


ODD_ATTRIBUTES = {b"user.a=b": b"c=d", b"user.p%q": b"1", b"user.x%3Dy": b"2", b"user.z%253Dy": b"3"}


def test_attributes_whose_names_end_no_record():
    """A key ends at its first equals sign, so these would come back by another name and value."""
    entry = Entry(b"f", Kind.REGULAR, 0o644, 0, 0, 0, 0, b"", xattrs=dict(ODD_ATTRIBUTES))
    assert only(headers(entry)).xattrs == ODD_ATTRIBUTES


def test_attributes_as_gnu_tar_names_them():
    records = {b"SCHILY.xattr.user.a%3Db": b"c=d", b"SCHILY.xattr.user.p%25q": b"1"}
    assert only(Tar().pax(records).file("f")).xattrs == {b"user.a=b": b"c=d", b"user.p%q": b"1"}


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"SCHILY.xattr.user.a\0b"])
def test_nul_in_a_name(key):
    """Python's calls refuse it by an error of programming, which ends the process that unpacks."""
    with pytest.raises(InvalidArgumentError, match="NUL"):
        list(reader(Tar().pax({key: b"a\0b"}).file("f")))


def test_base256_helper_matches_the_reader():
    assert base256(-5, 12)[0] == 0xFF


names = st.text(
    st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1, max_size=120
)


@given(
    st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_reads_what_the_standard_library_writes(files, form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert contents(buffer.getvalue(), 777) == [(name.encode(), data) for name, data in files]


@given(st.binary(max_size=4000))
def test_noise_is_an_error_or_nothing(noise):
    try:
        list(reader(noise))
    except InvalidArgumentError:
        return


@given(st.data())
def test_a_damaged_archive_is_an_error_or_read(data):
    good = bytearray(bytes(sparse_10().file("f", b"x" * 700).long(b"L", b"n" * 200).file("g")))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        contents(good)
    except InvalidArgumentError:
        return
