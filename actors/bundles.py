"""Bundles: makes what an OCI runtime is given, from a container's record and its image.

States: none. Reading an image's configuration, looking users up and writing a specification take memory
that a container's own process, of which there may be a thousand, would then keep; here it is used again.
Restarted by the supervisor, always; making a bundle twice does no harm, so callers ask again.
"""

from typing import Any

from actors import failpoints
from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.runtime import bundle as files
from actors.runtime.errors import ContainerError
from storage.names import check_identifier
from transport.errors import RemoteError


class BundlesActor(Actor):
    """One operation; each is worked on in a thread of its own."""

    kind = "bundles"

    def bundles_make(self, body: m.BundlesMake, call: Call) -> Later:
        """Make a bundle."""
        check_identifier("namespace", body.namespace)
        check_identifier("container id", body.id)
        self.work(lambda: self._make(body), lambda result: call.settle(_as_answer(result)))
        return LATER

    def _make(self, body: m.BundlesMake) -> dict[str, Any]:
        """In a worker thread. The network namespace is made while we read the image."""
        wish = body.options.get("network", {})
        network = self.begin(m.NetworkAttach(body.namespace, body.id, body.name, wish))
        image = files.find_image(self.settings.content, body.image_digest, body.options.get("platform", ""))
        snapshot = self.call(m.SnapshotsPrepare(body.namespace, body.id, image.chain_id))
        directory = self.settings.bundle(body.namespace, body.id)
        failpoints.hit("bundles", "mount", "before")
        files.mount_rootfs(directory, snapshot["mounts"])
        failpoints.hit("bundles", "mount", "after")
        files.write_spec(directory, body, image, network())
        failpoints.hit("bundles", "spec", "after")
        return {"stop_signal": image.stop_signal}


def _as_answer(result: Any) -> Any:
    if isinstance(result, ContainerError):
        return RemoteError(result.code, str(result), outcome="done")
    return result
