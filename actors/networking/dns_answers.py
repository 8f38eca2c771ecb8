"""What a resolver says to one question: an answer of its own, or that somebody else has to be asked. Pure.

Names of containers are answered with authority and a short life; what is not one of them is the business of
the host's own resolvers. RFC 1035, RFC 6891. dnspython is imported by the first question: only the resolver
pays for it.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

TTL: Final = 5  # seconds; containers come and go
PLAIN_LIMIT: Final = 512  # bytes of an answer over UDP to one who has not said more
MOST: Final = 4096  # bytes of a message that is read or answered over UDP
SERVFAIL: Final = 2

Names = Mapping[str, Sequence[str]]


def answer(wire: bytes, names: Names, *, tcp: bool = False) -> bytes | None:
    """The answer to a question, or None when it is not about one of these names.

    A malformed question is answered with FORMERR where it has an identity, with nothing (empty) where not.
    """
    import dns.exception  # noqa: PLC0415  # see above
    import dns.message  # noqa: PLC0415

    try:
        question = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return _malformed(wire)
    if question.flags & 0x8000 or len(question.question) != 1:  # an answer, or nothing that one asks
        return b"" if question.flags & 0x8000 else _malformed(wire)
    asked = question.question[0]
    found = _records(asked, names)
    if found is None:
        return None
    reply = dns.message.make_response(question, recursion_available=True)
    reply.flags |= 0x0400  # authoritative
    reply.answer += found
    limit = 65535 if tcp else max(PLAIN_LIMIT, min(question.payload or PLAIN_LIMIT, MOST))
    return _wire(reply, limit)


def _wire(reply: Any, limit: int) -> bytes:
    import dns.exception  # noqa: PLC0415

    try:
        found: bytes = reply.to_wire(max_size=limit)
    except dns.exception.TooBig:
        reply.flags |= 0x0200  # truncated: ask again over TCP
        reply.answer = []
        found = reply.to_wire(max_size=limit)
    return found


def _records(asked: Any, names: Names) -> list[Any] | None:
    """What is known of a name; empty where it has nothing of that kind, None where it is not known."""
    import dns.rdatatype  # noqa: PLC0415
    import dns.rrset  # noqa: PLC0415

    text = asked.name.to_text(omit_final_dot=True).lower()
    if asked.rdtype == dns.rdatatype.PTR:
        owner = _owner(text, names)
        return None if owner is None else [dns.rrset.from_text(asked.name, TTL, "IN", "PTR", f"{owner}.")]
    addresses = names.get(text)
    if addresses is None:
        return None
    wanted = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(asked.rdtype)
    mine = [one for one in addresses if ipaddress.ip_address(one).version == wanted]
    return [dns.rrset.from_text_list(asked.name, TTL, "IN", asked.rdtype, mine)] if mine else []


def _owner(reverse: str, names: Names) -> str | None:
    """The name behind `2.0.88.10.in-addr.arpa`: the first one by the alphabet that is not an id.

    One that no DNS message can say is passed over: a container's may have 76 characters, a label has 63.
    """
    import dns.exception  # noqa: PLC0415
    import dns.name  # noqa: PLC0415
    import dns.reversename  # noqa: PLC0415

    try:
        address = dns.reversename.to_address(dns.name.from_text(reverse))
    except (dns.exception.DNSException, ValueError):
        return None
    owners = sorted(
        (name for name, known in names.items() if address in known), key=lambda name: (len(name) == 12, name)
    )
    return next(filter(_can_be_said, owners), None)


def _can_be_said(name: str) -> bool:
    import dns.exception  # noqa: PLC0415
    import dns.name  # noqa: PLC0415

    try:
        dns.name.from_text(f"{name}.")
    except dns.exception.DNSException:
        return False
    return True


def _malformed(wire: bytes) -> bytes:
    """FORMERR, with no more of the question than its identity."""
    return b"" if len(wire) < 12 or wire[2] & 0x80 else wire[:2] + b"\x80\x01" + bytes(8)


def failed(wire: bytes) -> bytes:
    """SERVFAIL: nobody else could be asked. The question is repeated as it came."""
    return (
        wire[:2] + bytes([wire[2] | 0x80, (wire[3] & 0x70) | 0x80 | SERVFAIL]) + wire[4:]
        if len(wire) >= 12
        else b""
    )
