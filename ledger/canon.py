"""Canonical bytes of an entry: RFC 8785 (JCS), restricted so that every value has one form and every form one value.

Allowed: objects with ASCII keys, arrays, strings in NFC, booleans, integers of at most 53 bits. Not allowed: floats,
null, duplicate keys, more than 16 KiB. Within these limits RFC 8785 and orjson with sorted keys give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from unicodedata import is_normalized

import msgspec
import orjson

from ledger.errors import CanonError

MAX_INT = 2**53 - 1
"""Largest magnitude of an integer: what every JSON reader holds exactly (RFC 7493)."""
MAX_BYTES = 16 * 1024


def dumps(value: Mapping[str, Any]) -> bytes:
    """Canonical bytes of an object. Raises CanonError naming the field that has no canonical form."""
    return sealed(value)[0]


def sealed(value: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """(canonical bytes, the object as a reader of them will see it). Raises CanonError as `dumps`."""
    if type(value) is not dict:
        raise CanonError(f"an entry is an object, not {type(value).__name__}", where="canon", mend="pass a plain dict")
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        where = _culprit(value, "$", 0) or "canon"
        raise CanonError(f"no canonical form: {error}", where=where, mend=_MEND) from error
    if len(data) > MAX_BYTES:
        raise CanonError(f"{len(data)} bytes, at most {MAX_BYTES}", where="canon", mend="split it into several entries")
    return data, read(data) or _walked(orjson.loads(data), value)


def loads(data: bytes) -> dict[str, Any]:
    """The object these bytes are the canonical form of. Raises CanonError unless dumps(loads(data)) == data."""
    if len(data) > MAX_BYTES:
        raise CanonError(f"{len(data)} bytes, at most {MAX_BYTES}", where="canon")
    value = read(data)
    if value is None:
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise CanonError(f"not JSON: {error}", where="canon") from error
        again = dumps(value)
    else:
        again = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if again != data:
        at = next((i for i, (a, b) in enumerate(zip(data, again, strict=False)) if a != b), min(len(data), len(again)))
        raise CanonError(
            f"not canonical from byte {at} on (key order, space, duplicate key or number form)", where="canon"
        )
    return value


def reread(data: bytes) -> dict[str, Any]:
    """The object of bytes that are known to be canonical. For bytes of other origin use `loads`."""
    value: dict[str, Any] = orjson.loads(data)
    return value


_Int = Annotated[int, msgspec.Meta(ge=-MAX_INT, le=MAX_INT)]
_Flat = str | bool | _Int
_One = _Flat | list[_Flat] | dict[str, _Flat]
_Two = _Flat | list[_One] | dict[str, _One]
_Three = _Flat | list[_Two] | dict[str, _Two]
_DECODER = msgspec.json.Decoder(dict[str, _Flat | list[_Three] | dict[str, _Three]])
"""Reads what is allowed, four levels deep, in one pass; deeper values are walked through by `_walked`."""


class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An entry as its header's types have it; names in order."""

    body: dict[str, _Flat | list[_Two] | dict[str, _Two]]
    by: str
    id: str
    log: str
    prev: str
    rules: str
    seq: _Int
    sig: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    ts: _Int
    type: str
    v: _Int


_ENTRY = msgspec.json.Decoder(Entry)
_SORTED = msgspec.json.Encoder(order="sorted")


def entry(data: bytes) -> Entry | None:
    """The entry, if the fast reader can tell that its bytes are canonical; otherwise ask `loads`.

    A typed object is read and written in half the time of a dictionary. Signs that JSON escapes are left to `loads`.
    """
    if len(data) > MAX_BYTES or not data.isascii() or b"\\" in data:
        return None
    try:
        found = _ENTRY.decode(data)
    except msgspec.DecodeError:
        return None
    return found if _SORTED.encode(found) == data else None


def read(data: bytes) -> dict[str, Any] | None:
    """The object, if the fast reader can tell that it holds nothing that is forbidden."""
    if not data.isascii():
        return None
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError:
        return None


def _walked(value: dict[str, Any], original: object) -> dict[str, Any]:
    _check(original)
    return value


_MEND = "allowed are objects with ASCII keys, arrays, NFC strings, booleans and integers up to 2^53-1"


def _check(value: object) -> None:
    """Refuse what orjson would write but the restriction forbids."""
    todo = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is str:
            good = item.isascii() or is_normalized("NFC", item)  # type: ignore[attr-defined, arg-type]
        elif kind is int:
            good = -MAX_INT <= item <= MAX_INT  # type: ignore[operator]
        elif kind is dict:
            good = all(map(_ascii_key, item))  # type: ignore[call-overload]
            todo.extend(item.values())  # type: ignore[attr-defined]
        elif kind is list or kind is tuple:
            good = True
            todo.extend(item)  # type: ignore[arg-type]
        else:
            good = kind is bool
        if not good:
            raise CanonError("no canonical form", where=_culprit(value, "$", 0) or "canon", mend=_MEND)


def _ascii_key(key: object) -> bool:
    return type(key) is str and key.isascii()


def _culprit(value: object, path: str, depth: int) -> str | None:
    """Path of the first value without a canonical form, for the error message."""
    if depth > 64:
        return f"{path}: nested too deep"
    if type(value) is dict:
        for key, item in value.items():
            if not _ascii_key(key):
                return f"{path}: key {key!r}"
            if found := _culprit(item, f"{path}.{key}", depth + 1):
                return found
        return None
    if isinstance(value, list | tuple):
        places = (_culprit(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
        return next((place for place in places if place), None)
    return None if _is_scalar(value) else f"{path} = {value!r:.60} ({type(value).__name__})"


def _is_scalar(value: object) -> bool:
    if type(value) is str:
        return is_normalized("NFC", value) and not any("\ud800" <= c <= "\udfff" for c in value)
    return type(value) is bool or (type(value) is int and -MAX_INT <= value <= MAX_INT)
