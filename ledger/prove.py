"""A proof to take away: a party's bill with every entry it rests on. For one entry see receipt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ledger import canon, places, tlog
from ledger.errors import LedgerError
from ledger.rules import MOVES
from ledger.store import Store, reading

BUNDLE = "vpptwin/proof/v1"


def bundle(folder: Path, party: str, since_us: int, until_us: int, *, name: str = places.MAIN) -> dict[str, Any]:
    """All that moved a party's wallet for slots starting in [since, until), with metering and price entries below.

    Each has its audit path under the last signed head; ledger/auditor.py checks the bundle without the ledger.

    Raises LedgerError if no head is signed yet, or if the party has nothing in these slots.
    """
    with reading(folder, name) as store:
        size, signed = _signed(store)
        chosen = _chosen(store, party, since_us, until_us, size)
        if not chosen:
            raise LedgerError(f"nothing of {party} in these slots under the signed head", where="prove")
        key = _log_key(store, size)
        items = [{"seq": seq, "entry": data.decode(), "path": _hex(_path(store, seq, size))} for seq, data in chosen]
    return {
        "format": BUNDLE,
        "party": party,
        "since": since_us,
        "until": until_us,
        "key": key,
        "checkpoint": signed,
        "entries": items,
    }


def _chosen(store: Store, party: str, since_us: int, until_us: int, size: int) -> list[tuple[int, bytes]]:
    """Genesis, the party's settlements, residual shares and reversals of these slots, and what they rest on."""
    moving: dict[int, bytes] = {}
    wanted: set[str] = set()
    ids: set[str] = set()
    for seq, _, kind, eid, _, data in store.rows():
        if seq >= size or kind not in MOVES:
            continue
        entry = canon.loads(data)
        body = entry["body"]
        mine = any(account == party for account, _, _ in body["postings"])
        if kind == "reversal":
            here = body["of"] in ids
        else:
            here = since_us <= body["slot"] < until_us and (mine and body.get("party", party) == party)
        if here:
            ids.add(eid)
            moving[seq] = data
            wanted |= {body.get("metering", ""), body.get("price", "")}
    if not moving:
        return []
    rests = [(seq, data) for seq, _, data in store.find(sorted(wanted - {""})).values() if seq < size]
    genesis = [(0, store.data(0) or b"")]
    return sorted({*genesis, *moving.items(), *rests})


def _log_key(store: Store, size: int) -> str:
    """The log's key at that size: genesis', or that of the last rotation."""
    genesis = canon.loads(store.data(0) or b"")
    key: str = genesis["body"]["log_key"]
    for seq, _, kind, _, _, data in store.rows():
        if kind == "key.rotate" and seq < size:
            body = canon.loads(data)["body"]
            key = body["key"] if body["name"] == genesis["log"] else key
    return key


def _signed(store: Store) -> tuple[int, str]:
    last = store.last_checkpoint()
    if last is None:
        raise LedgerError("no head is signed yet", where="prove", mend="sign one (checkpoint, or close the ledger)")
    return last


def _path(store: Store, seq: int, size: int) -> list[bytes]:
    return tlog.inclusion(store.node, seq, size)


def _hex(path: Iterable[bytes]) -> list[str]:
    return [h.hex() for h in path]
