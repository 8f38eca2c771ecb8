"""Tars made byte by byte, and trees read back, for the tests of layers."""

import os
import stat
from pathlib import Path

BLOCK = 512


def octal(value, width):
    return b"%0*o\0" % (width - 1, value)


def base256(value, width):
    return (value % (1 << (8 * width)) | (1 << (8 * width - 1))).to_bytes(width, "big")


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def field(value, width):
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    return octal(value, width) if 0 <= value < 8 ** (width - 1) else base256(value, width)


def block(
    name=b"f",
    flag=b"0",
    *,
    size=0,
    mode=0o644,
    uid=0,
    gid=0,
    mtime=0,
    link=b"",
    major=0,
    minor=0,
    magic=b"ustar\0" + b"00",
    prefix=b"",
    checksum=None,
):
    head = bytearray(
        b"".join(
            (
                name.ljust(100, b"\0")[:100],
                field(mode, 8),
                field(uid, 8),
                field(gid, 8),
                field(size, 12),
                field(mtime, 12),
                b" " * 8,
                flag,
                link.ljust(100, b"\0")[:100],
                magic,
                bytes(64),
                field(major, 8),
                field(minor, 8),
                prefix.ljust(155, b"\0"),
                bytes(12),
            )
        )
    )
    return sealed(head, checksum)


def sealed(head, checksum=None):
    head = bytearray(head)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % (sum(head) if checksum is None else checksum)
    return bytes(head)


def _attribute(name):
    """The key of its record, as GNU tar writes it."""
    return b"SCHILY.xattr." + name.replace("%", "%25").replace("=", "%3D").encode()


def pax_record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return str(length).encode() + body


class Tar:
    """Entries in the order they are added; `bytes(tar)` ends the archive."""

    def __init__(self):
        self.data = b""

    def __bytes__(self):
        return self.data + bytes(2 * BLOCK)

    def raw(self, data):
        self.data += padded(data)
        return self

    def pax(self, records, flag=b"x"):
        text = b"".join(
            pax_record(k, v) for k, v in (records.items() if isinstance(records, dict) else records)
        )
        return self.raw(block(b"pax", flag, size=len(text))).raw(text)

    def long(self, flag, text):
        return self.raw(block(b"././@LongLink", flag, size=len(text) + 1)).raw(text + b"\0")

    def add(self, name, flag=b"0", data=b"", *, xattrs=None, pax=None, **fields):
        name = name.encode() if isinstance(name, str) else name
        link = fields.pop("link", b"")
        link = link.encode() if isinstance(link, str) else link
        records = dict(pax or {})
        records.update({_attribute(key): value for key, value in (xattrs or {}).items()})
        if len(name) > 100:
            records[b"path"] = name
        if len(link) > 100:
            records[b"linkpath"] = link
        if records:
            self.pax(records)
        return self.raw(block(name, flag, size=len(data), link=link, **fields)).raw(data)

    def file(self, name, data=b"", **fields):
        return self.add(name, b"0", data, **fields)

    def dir(self, name, mode=0o755, **fields):
        return self.add(name, b"5", mode=mode, **fields)

    def symlink(self, name, link, **fields):
        return self.add(name, b"2", link=link, mode=0o777, **fields)

    def hardlink(self, name, link, **fields):
        return self.add(name, b"1", link=link, **fields)


def describe(path):
    """What one file is, as a tuple that can be compared."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    content = None
    if kind == stat.S_IFREG:
        content = path.read_bytes()
    elif kind == stat.S_IFLNK:
        content = str(path.readlink())
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        content = (os.major(status.st_rdev), os.minor(status.st_rdev))
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    return (
        stat.filemode(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        content,
        tuple(sorted(xattrs.items())),
    )


def tree(root):
    """Every file below `root`, and `root` itself as "", by its path; hard links by the name they share."""
    found = {"": describe(root)}
    groups = {}
    for directory, subdirectories, files in os.walk(root):
        for name in sorted(subdirectories + files):
            path = Path(directory) / name
            relative = str(path.relative_to(root))
            found[relative] = describe(path)
            status = os.lstat(path)
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                groups.setdefault((status.st_dev, status.st_ino), []).append(relative)
    for names in groups.values():
        if len(names) > 1:
            for name in names:
                found[name] += (min(names),)
    return found


def names(directory):
    """What a directory holds."""
    return sorted(child.name for child in directory.iterdir())
