"""The part of a scripted registry that takes blobs."""

import re

from tests.scripted_registry import Answer, digest_of


class Uploads:
    """The upload part of a registry: one session whose address changes with each step."""

    def __init__(self, registry, repository="a/b", **headers):
        self.repository = repository
        self.registry = registry
        self.headers = headers
        self.received = b""
        self.stored = {}
        self.step = 0
        self.refuse = []  # answers for the next PATCH requests
        self.keep = []  # how many bytes of the next PATCH requests arrive
        registry.on("POST", f"/v2/{repository}/blobs/uploads/", lambda _: self.place(202))
        registry.on("PATCH", "/upload/x", self.patch)
        registry.on("PUT", "/upload/x", self.put)
        registry.on("GET", "/upload/x", lambda asked: self.expect(asked) or self.place(204))
        registry.on("DELETE", "/upload/x", Answer(204))

    def place(self, status):
        self.step += 1
        reached = f"0-{max(len(self.received) - 1, 0)}"
        headers = {"Location": f"/upload/x?state={self.step}%2F=", "Range": reached, **self.headers}
        return Answer(status, headers=headers)

    def expect(self, asked):
        """An upload's address is good for the state it was given for."""
        return None if f"state={self.step}%2F=" in asked.path else Answer(404)

    def patch(self, asked):
        claim = re.fullmatch(r"(\d+)-(\d+)", asked.headers["content-range"])
        start, end = int(claim[1]), int(claim[2]) + 1
        assert end - start == len(asked.body)
        if start != len(self.received):
            return Answer(416, b"no", length=500, stall=True)
        if self.refuse:
            self.received += asked.body[: self.keep.pop(0) if self.keep else 0]
            return self.refuse.pop(0)
        self.received += asked.body
        return self.expect(asked) or self.place(202)

    def put(self, asked):
        self.received += asked.body
        digest = re.search(r"&digest=(sha256:[0-9a-f]+)$", asked.path)[1]
        if digest != digest_of(self.received):
            return Answer(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        self.stored[digest] = self.received
        return Answer(201, headers={"Location": f"/v2/{self.repository}/blobs/{digest}"})
