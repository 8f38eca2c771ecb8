#!/usr/bin/env python3
"""What every client shows that it can do (clients/README.md): with the plain client, or with asyncio.

session.py vectors | session FILE IMAGE | async FILE IMAGE | streams FILE
"""

import asyncio
import sys
from itertools import islice
from typing import Any

from actord_client import Client, ProtocolError, RequestError, aio
from actord_client.wire import decode, encode

INPUT = b"hello\n" + b"x" * 199_994
SHOUT = ["sh", "-c", "tr a-z A-Z; echo done >&2; exit 7"]
COUNT = ["sh", "-c", "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done"]
WAITS = 5000  # more than a peer may have waiting
LINES = 60


def say(text: str) -> None:
    print(text, flush=True)


# The vectors


def vectors() -> None:
    """Read messages in hex, a line each, and write each again as it was understood."""
    for line in sys.stdin:
        frames = [b"" if word == "-" else bytes.fromhex(word) for word in line.split()]
        say(_read(frames))


def _read(frames: list[bytes]) -> str:
    try:
        message = decode(frames)
    except ProtocolError:
        return "refused message"
    try:
        again = encode(message.header, message.body, message.buffers)
    except ProtocolError:
        return "refused body"
    return " ".join(["ok", *(frame.hex() or "-" for frame in again)])


# The session


def session(path: str, image: str) -> None:
    """The plain client."""
    with Client(path) as actord:
        say(f"connected, protocol {actord.welcome['protocol']}")
        actors = actord.request("introspection.actors", {"memory": False}, to="supervisor")["actors"]
        say("list: metadata is there" if any(one["name"] == "metadata" for one in actors) else "list: ?")
        say(f"error: {_error_of(actord)}")
        try:
            actord.request("containers.get", to="x" * 300)
        except ProtocolError:
            say("malformed: not sent")
        seen: list[dict[str, Any]] = []
        name = actord.pull(image, progress=seen.append)["name"]
        say(f"pull: {'progress, then ' if seen else ''}{name}")
        _run(actord, image)
        box = actord.create(image, ["sleep", "1000"])
        box.start()
        exec_id = box.exec(["echo", "from exec"])
        pieces = list(box.output(exec_id=exec_id))
        text = b"".join(one.bytes for one in pieces).decode().strip()
        say(f"exec: {text}, exit {pieces[-1].exit_code}")
        _events(actord, box.id)
        actord.run(_overload(actord.aio, box.aio))
        box.remove(force=True)
        _reconnect(actord, image)
    say("bye")


def _error_of(actord: Client) -> str:
    try:
        actord.request("containers.get", {"namespace": "default", "id": "nobody"}, to="metadata")
    except RequestError as error:
        return error.code
    return "none"


def _run(actord: Client, image: str) -> None:
    box = actord.create(image, SHOUT, stdin=True)
    box.start()
    box.write(INPUT)
    pieces = list(box.output())
    out, err = (b"".join(one.bytes for one in pieces if one.stream == number) for number in (1, 2))
    assert out == INPUT.upper()
    say(f"run: {len(out)} bytes out, {len(err)} bytes err, exit {pieces[-1].exit_code}")
    box.remove()


def _events(actord: Client, container_id: str) -> None:
    first = next(actord.events(container_id=container_id))
    after = actord.events(container_id=container_id, after=first.seq)
    topics = [first.body["topic"], *(next(after).body["topic"] for _ in range(2))]
    after.close()
    say(f"events: {topics[0]}, resumed: {topics[1]} {topics[2]}")


async def _overload(actord: aio.Client, box: aio.Container) -> None:
    """More waits than are allowed; room made by cancelling; then a request that is tried until it passes."""
    limit: dict[str, Any] = {"to": box.actor, "limit": 600.0, "once": True}
    waits = [asyncio.ensure_future(actord.request("tasks.wait", **limit)) for _ in range(WAITS)]
    refused = 0
    for wait in asyncio.as_completed(waits):
        try:
            await wait
        except RequestError as error:
            refused += error.code == "overloaded"
        if refused == WAITS - 4096:
            break
    for wait in [wait for wait in waits if not wait.done()][:10]:
        wait.cancel()
    await actord.request("tasks.kill", {"signal": 9}, to=box.actor, repeatable=True)
    done = await asyncio.gather(*waits, return_exceptions=True)
    exits = sum(1 for one in done if isinstance(one, dict) and one["exit_code"] == 137)
    say(f"overload: {len(done)} answered, " + ("refused, cancelled and done" if refused and exits else "?"))


def _reconnect(actord: Client, image: str) -> None:
    """The one who drives this session kills the router when it is told to, and says when it has."""
    box = actord.create(image, COUNT)
    box.start()
    text, told, lines = b"", False, 0
    for piece in box.output():
        text += piece.bytes
        if not told:
            say("kill the router")
            told = sys.stdin.readline() == "killed\n"
        lines = text.count(b"\n")
        if actord.reconnections and lines >= LINES:
            break
    in_order = text.split(b"\n")[:lines] == [b"line %d" % number for number in range(lines)]
    say(f"reconnected: {'every line, once' if told and in_order else text.decode()}")
    box.remove(force=True)


# Streams of which something is missing


def streams(path: str) -> None:
    """Whoever drives this leaves out messages, and says some twice."""
    with Client(path) as actord:
        pieces = list(actord.create("image").output())
        text = b"".join(one.bytes for one in pieces).decode()
        say(f"output: {text}, exit {pieces[-1].exit_code}")
        events = actord.events()
        say(f"events: {' '.join(event.body['topic'] for event in islice(events, 4))}")
        events.close()


async def session_async(path: str, image: str) -> None:
    """The same with asyncio, where input and output go on at the same time."""
    async with aio.Client(path) as actord:
        say(f"connected, protocol {actord.welcome['protocol']}")
        asked = actord.request("introspection.actors", {"memory": False}, to="supervisor")
        actors = (await asked)["actors"]
        say("list: metadata is there" if any(one["name"] == "metadata" for one in actors) else "list: ?")
        try:
            await actord.request("containers.get", {"namespace": "default", "id": "nobody"}, to="metadata")
        except RequestError as error:
            say(f"error: {error.code}")
        try:
            await actord.request("containers.get", to="x" * 300)
        except ProtocolError:
            say("malformed: not sent")
        seen: list[dict[str, Any]] = []
        name = (await actord.pull(image, progress=seen.append))["name"]
        say(f"pull: {'progress, then ' if seen else ''}{name}")
        await _run_async(actord, image)
        box = await actord.create(image, ["sleep", "1000"])
        await box.start()
        pieces = [piece async for piece in box.output(exec_id=await box.exec(["echo", "from exec"]))]
        text = b"".join(one.bytes for one in pieces).decode().strip()
        say(f"exec: {text}, exit {pieces[-1].exit_code}")
        await _events_async(actord, box.id)
        await _overload(actord, box)
        await box.remove(force=True)
        await _reconnect_async(actord, image)
    say("bye")


async def _run_async(actord: aio.Client, image: str) -> None:
    box = await actord.create(image, SHOUT, stdin=True)
    await box.start()
    writing = asyncio.ensure_future(box.write(INPUT))
    pieces = [piece async for piece in box.output()]
    await writing
    out, err = (b"".join(one.bytes for one in pieces if one.stream == number) for number in (1, 2))
    assert out == INPUT.upper()
    say(f"run: {len(out)} bytes out, {len(err)} bytes err, exit {pieces[-1].exit_code}")
    await box.remove()


async def _events_async(actord: aio.Client, container_id: str) -> None:
    events = actord.events(container_id=container_id)
    first = await anext(events)
    await events.aclose()
    after = actord.events(container_id=container_id, after=first.seq)
    topics = [first.body["topic"], *[(await anext(after)).body["topic"] for _ in range(2)]]
    await after.aclose()
    say(f"events: {topics[0]}, resumed: {topics[1]} {topics[2]}")


async def _reconnect_async(actord: aio.Client, image: str) -> None:
    box = await actord.create(image, COUNT)
    await box.start()
    text, told, lines = b"", False, 0
    output = box.output()
    async for piece in output:
        text += piece.bytes
        if not told:
            say("kill the router")
            told = await asyncio.to_thread(sys.stdin.readline) == "killed\n"
        lines = text.count(b"\n")
        if actord.reconnections and lines >= LINES:
            break
    await output.aclose()
    in_order = text.split(b"\n")[:lines] == [b"line %d" % number for number in range(lines)]
    say(f"reconnected: {'every line, once' if told and in_order else text.decode()}")
    await box.remove(force=True)


def main() -> None:
    """Do what the first word says."""
    match sys.argv[1:]:
        case ["vectors"]:
            vectors()
        case ["session", path, image]:
            session(path, image)
        case ["async", path, image]:
            asyncio.run(session_async(path, image))
        case ["streams", path]:
            streams(path)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
