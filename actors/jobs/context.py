"""What every job works with: the content store to read, the actors to ask, the client's descriptor."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from actors import failpoints
from actors import messages as m
from actors.inflight import InFlight, Progress
from actors.jobs.lent import begin_file, is_directory, is_file
from actors.keeping import keep_in_turn
from actors.linux.borrow import Lent, borrow
from actors.relating import hold, relate
from actors.unpacking import Unpacker, layer_limits
from storage.content import ContentStore, IngestWriter
from storage.descriptor import Descriptor
from storage.digest import SHA256, Digest
from storage.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from storage.image.config import ImageConfig, parse_config
from storage.image.contents import Contents, Part, walk
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.media_types import FOREIGN_LAYERS
from storage.image.platform import Platform, host_platform, parse_platform

ASK_LIMIT = 300.0  # seconds that a slow disk may take


class Context:
    """For one job. To be used in its worker thread."""

    def __init__(self, actor: InFlight) -> None:
        self._actor = actor
        self.namespace: str = actor.birth.args["namespace"]
        self.store = ContentStore(actor.settings.content, reader=True)  # to read; the content actor owns it
        self.unpacker = Unpacker(actor, self.namespace, self.store)
        self.interrupted = actor.birth.inc > 1
        self.job = actor.birth.name
        self.settings = actor.settings
        self.limits = layer_limits(actor.settings)

    def call(self, body: Any, *, to: str = "") -> Any:
        """Ask another actor. Raises RemoteError."""
        return self._actor.call(body, to=to, limit=ASK_LIMIT)

    def moved(self, ref: str, status: str, offset: int = 0, total: int = 0) -> None:
        """Tell the clients how far something is."""
        self._actor.moved(Progress(ref, status, offset, total))

    def at(self, place: str, when: str) -> None:
        """A failpoint."""
        failpoints.hit("job", place, when)

    def borrow(self, lent: Lent, *, writes: bool = False, fresh: bool = False) -> int:
        """The client's descriptor, ours to close. A `fresh` file is the client's for this job alone.

        To a file that one `writes` to, what an earlier attempt has written is taken back.

        Raises:
            FailedPreconditionError: it cannot be had; or this is not the first attempt, and what went through
                a pipe does not come again.
        """
        fd = borrow(lent)
        if fresh and is_file(fd):
            begin_file(fd)
        elif self.interrupted and not is_directory(fd):
            if not is_file(fd) or (writes and lent.at < 0):
                os.close(fd)
                raise FailedPreconditionError("interrupted while bytes went through a pipe: run it again")
            if writes:
                begin_file(fd, lent.at)
        return fd

    # Images

    def image(self, name: str) -> tuple[str, Descriptor]:
        """Canonical name and root of an image. Raises RemoteError."""
        found = self.call(m.ImagesGet(self.namespace, name))
        target = Descriptor.from_dict(found["target"])
        hold(self._actor, ("content", str(target.digest)))  # should the name go while we read
        return found["name"], target

    def name(self, name: str, target: Descriptor, labels: dict[str, str] | None = None) -> dict[str, Any]:
        """Give an image its name, the last step of all."""
        relate(self._actor, self.store, target)
        self.at("name", "before")
        image: dict[str, Any] = self.call(m.ImagesPut(self.namespace, name, target.to_dict(), labels or {}))
        self.at("name", "after")
        return image

    def contents(self, root: Descriptor) -> Contents:
        """What is below a root. Documents that a descriptor carries itself are kept as they are met."""
        return walk(root, self.document)

    def document(self, descriptor: Descriptor) -> bytes | None:
        """The verified bytes of a document, None when it is not here."""
        if not self.store.has(descriptor.digest):
            if descriptor.data is None:
                return None
            self.keep_bytes(descriptor.data, descriptor.media_type, descriptor.digest.algorithm)
        self._check_size(descriptor)
        return self.store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    def _check_size(self, descriptor: Descriptor) -> None:
        size = self.store.info(descriptor.digest).size
        if size != descriptor.size:
            text = f"blob {descriptor.digest} has {size} bytes, but the image says {descriptor.size}"
            raise InvalidArgumentError(text)

    def missing(self, part: Part) -> list[Descriptor]:
        """The blobs of an image that are not here. InvalidArgumentError for one of another size."""
        found = []
        for child in part.manifest.children():
            if self.store.has(child.digest):
                self._check_size(child)
            elif child.data is not None:
                self.keep_bytes(child.data, child.media_type, child.digest.algorithm)
            elif child.media_type not in FOREIGN_LAYERS:
                found.append(child)
        return found

    def chosen(self, root: Descriptor, platform: str = "") -> Part:
        """The image below a root for a platform, the host's unless one is named. Raises NotFoundError."""
        wanted = self.platform(platform)
        for part in self.contents(root).suiting(wanted):
            return part
        raise NotFoundError(f"image {root.digest} has nothing for {wanted} here")

    @staticmethod
    def platform(text: str) -> Platform:
        """A platform as people write it; the host's for the empty text."""
        return parse_platform(text) if text else host_platform()

    def config(self, part: Part) -> ImageConfig:
        """The parsed config of an image."""
        content = self.store.read(part.manifest.config.digest, MAX_DOCUMENT_SIZE)
        return parse_config(content, part.manifest.config.media_type)

    def unpack(self, part: Part) -> str:
        """Unpack an image; the name of its last snapshot."""
        return self.unpacker.unpack(part.manifest, self.config(part).diff_ids)

    # Blobs

    def keep_bytes(self, content: bytes, media_type: str, algorithm: str = SHA256) -> Descriptor:
        """Store a document."""
        found = Descriptor(media_type, Digest.of(content, algorithm), len(content))
        self.keep(found, [content])
        return found

    def keep(self, descriptor: Descriptor, pieces: Iterable[bytes | memoryview]) -> None:
        """Store a blob whose digest is known; its pieces are left alone when it is there."""

        def fill(writer: IngestWriter) -> None:
            writer.start_at(0)
            self._fill(writer, pieces, str(descriptor.digest), "storing", descriptor.size)

        keep_in_turn(self._actor, descriptor, fill)  # another job of the same image may be at it

    def _fill(
        self, writer: IngestWriter, pieces: Iterable[bytes | memoryview], ref: str, status: str, total: int
    ) -> None:
        for piece in pieces:
            writer.write(piece)
            self.at("store", "chunk")
            self.moved(ref, status, writer.offset, total)

    def keep_unknown(
        self, what: str, limit: int, media_type: str, produce: Callable[[Callable[[bytes], None]], None]
    ) -> Descriptor:
        """Store a blob that `produce` writes and whose digest nobody knows beforehand."""
        ref = f"{self.job} {what}"
        found = self.call(m.ContentOpen(ref, namespace=self.namespace, lease=self._actor.lease))
        with IngestWriter(Path(found["path"]), limit=limit) as writer:
            writer.start_at(0)

            def write(piece: bytes | memoryview) -> None:
                writer.write(piece)
                self.at("store", "chunk")
                self.moved(what, "storing", writer.offset)

            produce(write)
            digest, size = writer.finish(), writer.offset
        self.at("commit", "before")
        self.call(m.ContentCommit(ref, str(digest), size, self.namespace, {}, self._actor.lease))
        self.at("commit", "after")
        return Descriptor(media_type, digest, size)


def converted(wish: type[Any], args: dict[str, Any]) -> Any:
    """What the client sent, as the job's own type. Raises InvalidArgumentError."""
    try:
        return msgspec.convert(args, wish)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(f"job: {error}") from error
