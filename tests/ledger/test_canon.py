"""Canonical bytes: the same as RFC 8785's, one form per value, everything else refused."""

from __future__ import annotations

import unicodedata

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger import canon
from ledger.errors import CanonError

text = st.text(st.characters(exclude_categories=["Cs"])).map(lambda s: unicodedata.normalize("NFC", s))
keys = st.text(st.characters(max_codepoint=127))
scalars = st.booleans() | st.integers(-canon.MAX_INT, canon.MAX_INT) | text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=25
)
objects = st.dictionaries(keys, values, max_size=6)


@given(objects)
def test_bytes_are_those_of_rfc_8785_and_come_back(value):
    data = canon.dumps(value)
    assert data == rfc8785.dumps(value)
    assert canon.loads(data) == value


@given(objects, st.data())
def test_no_changed_byte_reads_as_the_same_value(value, data):
    good = canon.dumps(value)
    at = data.draw(st.integers(0, len(good) - 1))
    other = good[:at] + bytes([good[at] ^ 1 << data.draw(st.integers(0, 7))]) + good[at + 1 :]
    try:
        read = canon.loads(other)
    except CanonError:
        return
    assert canon.dumps(read) == other != good


@pytest.mark.parametrize(
    "bad",
    [
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":1.0}',
        b'{"a":1.5}',
        b'{"a":null}',
        b'{"a":01}',
        b'{"a":9007199254740992}',
        b'{"a":99999999999999999999999}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        '{"a":"e\u0301"}'.encode(),
        '{"ä":1}'.encode(),
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b"[1]",
        b"1",
        b"",
        b'{"a":NaN}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"' + b"x" * 17_000 + b'"}',
        b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_other_forms_are_refused(bad):
    with pytest.raises(CanonError):
        canon.loads(bad)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, {"b": 0.5}]}, r"\$\.a\[1\]\.b"),
        ({"a": None}, r"\$\.a"),
        ({"a": 2**53}, r"\$\.a"),
        ({"a": {1: 2}}, "key 1"),
        ({"ä": 2}, "key"),
        ({"a": "e\u0301"}, r"\$\.a"),
        ({"a": "\ud800"}, r"\$\.a"),
        ({"a": b"x"}, r"\$\.a"),
        ({"a": {1, 2}}, r"\$\.a"),
        ([1], "list"),
    ],
)
def test_the_culprit_is_named(value, where):
    with pytest.raises(CanonError, match=where):
        canon.dumps(value)


def test_a_cycle_ends_in_an_error():
    value: dict[str, object] = {}
    value["self"] = value
    with pytest.raises(CanonError):
        canon.dumps(value)
