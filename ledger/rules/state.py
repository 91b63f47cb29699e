"""What rules know of the ledger: facts under tuple keys, and how an entry is refused."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, NoReturn

from ledger.errors import EntryRefused

State = Mapping[tuple[Any, ...], Any]
Changes = dict[tuple[Any, ...], Any]
"""Facts that an entry sets; none is None."""
Entry = Mapping[str, Any]
Posting = tuple[str, int, int]
"""(account, micro-currency received, Wh given). Money sums to zero in every entry, energy once a slot is closed."""


class Fields(dict[str, type]):
    """Names and types of a body's fields (two at least), made ready to be compared at once: for frequent entries."""

    def __init__(self, fields: Mapping[str, type]) -> None:
        super().__init__(fields)
        self.read = itemgetter(*fields)
        self.types = [*fields.values()]


MAX_NAME = 128
CLEARING = "clearing"
"""Account between the main log and the logs of the parties: what stands on it in one stands negated in the others."""
RESIDUAL = "residual"
"""Account of the energy that no meter explains."""


def refuse(entry: Entry, why: str, mend: str = "") -> NoReturn:
    """Refuse an entry. Raises EntryRefused with the entry's place, the reason and how to mend it."""
    raise EntryRefused(why, where=f"entry {entry.get('seq', '?')} ({entry['type']} {entry['id']})", mend=mend)


def body_of(entry: Entry, fields: Mapping[str, type], optional: Mapping[str, type] | None = None) -> dict[str, Any]:
    """The body, if it has exactly these fields with exactly these types (a boolean is no integer)."""
    body: dict[str, Any] = entry["body"]
    if body.keys() != fields.keys():
        known = {**fields, **(optional or {})}
        missing, unknown = fields.keys() - body.keys(), body.keys() - known.keys()
        if missing or unknown:
            refuse(entry, f"body lacks {sorted(missing)}, has unknown {sorted(unknown)}", f"fields: {', '.join(known)}")
        fields = {name: known[name] for name in body}
    elif type(fields) is Fields and [*map(type, fields.read(body))] == fields.types:
        return body
    for name, kind in fields.items():
        if type(body[name]) is not kind:
            refuse(entry, f"body.{name} is {type(body[name]).__name__}, not {kind.__name__}")
    return body


def is_name(value: object) -> bool:
    """A name of a party, device or log: 1 to 128 printable ASCII characters without space."""
    return (
        type(value) is str
        and 0 < len(value) <= MAX_NAME
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def is_digest(value: object) -> bool:
    """64 lower-case hex digits."""
    return type(value) is str and len(value) == 64 and not value.strip("0123456789abcdef")


def integers(entry: Entry, name: str, values: Mapping[str, Any]) -> None:
    """Refuse unless all values of a mapping are integers under proper names."""
    for key, value in values.items():
        if type(value) is not int or not is_name(key):
            refuse(entry, f"body.{name}.{key} is not an integer under a name")


def before_slot(entry: Entry, genesis: Mapping[str, Any], slot: int) -> None:
    """Refuse unless the slot lies on an edge and has not begun; price_grace_us allows for entries of one instant."""
    if slot % (genesis["slot_s"] * 1_000_000):
        refuse(entry, "not the start of a slot of the genesis' length", f"slot_s = {genesis['slot_s']}")
    if entry["ts"] > slot + genesis["price_grace_us"]:
        late = (entry["ts"] - slot) / 1e6
        refuse(entry, f"written {late:.3f} s after the slot began", "write it before the slot it holds for")


def by_operator(entry: Entry, state: State) -> dict[str, Any]:
    """The genesis body, if the operator wrote the entry."""
    genesis = genesis_of(state)
    if entry["by"] != genesis["operator"]:
        refuse(entry, f"{entry['type']} is written by the operator, {genesis['operator']}")
    return genesis


def postings_of(entry: Entry) -> list[Posting]:
    """Postings of an entry as (account, micro, wh). Refuses any other shape."""
    rows = entry["body"]["postings"]
    for row in rows:
        if type(row) is not list or len(row) != 3 or not type(row[1]) is type(row[2]) is int or type(row[0]) is not str:
            refuse(entry, "a posting is [account, integer micro, integer Wh]")
    return [(account, micro, wh) for account, micro, wh in rows]


def genesis_of(state: State) -> dict[str, Any]:
    """The genesis body."""
    body: dict[str, Any] = state[("genesis",)]
    return body
