"""Inbox entries as no producer of ours would send them, and good ones beside them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from schemas.fields import KNOWN_FIELDS
from tests.fuzz.values import ODD_TIMES, json_texts, raw_bytes, texts

Fields = dict[bytes, bytes]

_VALUES = {
    "kind": st.sampled_from(["comment", "ticket", "Ticket", "poem", ""]),
    "tasks": st.sampled_from(["sentiment", "routing", "sentiment,routing", "routing,", ",", "dance", " sentiment "]),
    "created_at": st.sampled_from(ODD_TIMES),
    "updated_at": st.sampled_from(ODD_TIMES),
    "deadline": st.sampled_from(ODD_TIMES),
    "meta": json_texts,
    "labels": json_texts,
    "model": st.sampled_from(["tiny", "tiny/1", "tiny/2", "../tiny", "tiny/../tiny/1", "a/b/c", "broken", "", "\0"]),
    "route_set": st.sampled_from(["default", "none", "", "x" * 201]),
    "template": st.sampled_from(["{}", "{} {}", "about {}", "", "{0}", "{}" + "x" * 600, "{label}{}"]),
    "multi_label": st.sampled_from(["yes", "NO", "2", ""]),
    "store": st.sampled_from(["yes", "no", "maybe"]),
}
_ODD_NAMES = ("Id", "TEXT", "id ", " text", "", "a" * 70_000, "\u202eid", "base64:x", "meta.plan", "__proto__")
_NAMES = st.one_of(st.sampled_from(_ODD_NAMES).map(str.encode), raw_bytes)
_MANY = st.sampled_from([{f"f{n}".encode(): b"1" for n in range(10_000)}, {f"f{n}".encode(): b"" for n in range(600)}])


@dataclass(frozen=True)
class Sent:
    """Fields of one entry. `good`: as the contract wants it, with an id that no other entry has."""

    fields: Fields
    good: bool


@st.composite
def odd_fields(draw: st.DrawFn) -> Fields:
    """Fields of which any may be missing, spelled otherwise, or hold what it should not."""
    fields: Fields = {b"id": b"42", b"text": "物流太慢".encode()}
    for name in draw(st.lists(st.sampled_from(sorted(KNOWN_FIELDS)), unique=True, max_size=4)):
        usual = _VALUES.get(name, texts).map(lambda text: text.encode("utf-8", "surrogatepass"))
        fields[name.encode()] = draw(st.one_of(usual, usual, raw_bytes))
    for needed in (b"id", b"text"):
        if draw(st.integers(0, 7)) == 0:
            del fields[needed]
    fields |= draw(st.dictionaries(_NAMES, raw_bytes, max_size=2))
    if draw(st.integers(0, 40)) == 0:
        fields |= draw(_MANY)
    return fields or {b"": b""}


good_fields = st.builds(
    lambda text, kind: {b"text": text.encode(), b"kind": kind.encode()},
    st.sampled_from(["物流太慢", "很好", "退款 hell", "a" * 500]),
    st.sampled_from(["comment", "ticket"]),
)
batches = st.lists(
    st.one_of(
        good_fields.map(lambda fields: Sent(fields, good=True)),
        odd_fields().map(lambda fields: Sent(fields, good=False)),
        odd_fields().map(lambda fields: Sent(fields, good=False)),
    ),
    min_size=1, max_size=12,
)  # fmt: skip
