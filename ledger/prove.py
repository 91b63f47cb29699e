"""A proof to take away: a party's bill with every entry it rests on. For one entry see receipt.

From a party's own log the bundle also holds what the main log says of it: the anchor of the head it is proved under,
the price entries that committed to its prices (with the path to that commitment), contracts, residual entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger import canon, places, tlog
from ledger.errors import LedgerError
from ledger.port import LogReader
from ledger.rules import MOVES
from ledger.store import reading

BUNDLE = "vpptwin/proof/v3"


def bundle(folder: Path, party: str, since_us: int, until_us: int) -> dict[str, Any]:
    """All that moved a party's wallet for slots starting in [since, until), with what it rests on, and audit paths.

    From the party's own log if it has one, under the head that the main log anchored last; else from the main log,
    under its last signed head. ledger/auditor.py checks the bundle without the ledger.

    Raises LedgerError if no head is signed yet, or if the party has nothing in these slots.
    """
    folder = places.ledger_folder(folder)
    own = places.party(party) in places.logs(folder)
    anchor = _anchor(folder, party) if own else None
    name = places.party(party) if own else places.MAIN
    with reading(folder, name) as store:
        size, signed = _signed(store, None if anchor is None else anchor[1])
        chosen = _chosen(store, party, since_us, until_us, size)
        if not chosen:
            raise LedgerError(
                f"nothing of {party} in these slots under the signed head", where="prove", mend=_who(folder)
            )
        proved = _proved(store, chosen, size, signed)
    facts = {"format": BUNDLE, "party": party, "since": since_us, "until": until_us, **proved}
    return facts if anchor is None else {**facts, "main": _of_main(folder, party, anchor[0], chosen)}


def _who(folder: Path) -> str:
    """Parties and slots that there are, for a person who asked for others."""
    with reading(folder, places.MAIN) as store:
        entries = [canon.loads(row[5])["body"] for row in store.rows() if row[2] in ("registration", "price")]
    slots = [datetime.fromtimestamp(body["slot"] / 1e6, UTC).isoformat() for body in entries if "slot" in body]
    named = ", ".join(sorted(body["wallet"] for body in entries if "wallet" in body))
    return f"parties: {named}; slots from {min(slots)} to {max(slots)}" if slots else f"parties: {named}; no slot yet"


def _proved(store: LogReader, chosen: Iterable[tuple[int, bytes]], size: int, signed: str) -> dict[str, Any]:
    """Entries with their audit paths, the head they stand under and its key."""
    items = [
        {
            "seq": seq,
            "entry": canon.loads(data) and data.decode(),
            "path": [h.hex() for h in tlog.inclusion_at_once(store.proof_nodes, seq, size)],
        }
        for seq, data in chosen
    ]
    return {"key": _log_key(store, size), "checkpoint": signed, "entries": items}


def _of_main(folder: Path, party: str, anchor_seq: int, chosen: Iterable[tuple[int, bytes]]) -> dict[str, Any]:
    """What the main log says of these entries of a party's log, proved under its last signed head."""
    entries = [canon.loads(data) for _, data in chosen]
    prices = [entry["id"] for entry in entries if entry["type"] == "price"]
    named = {entry["body"].get("contract", "") for entry in entries}
    named |= {entry["body"]["of"] for entry in entries if entry["type"] == "residual"}
    with reading(folder, places.MAIN) as store:
        size, signed = _signed(store, None)
        found = {seq: data for seq, _, data in store.find(sorted({*prices, *named} - {""})).values() if seq < size}
        found |= {seq: store.data(seq) or b"" for seq in (0, anchor_seq)}
        proved = _proved(store, sorted(found.items()), size, signed)
    return {**proved, "committed": _committed(folder, party, prices)}


def _committed(folder: Path, party: str, prices: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Price entry -> its place, the number of leaves and the path in the tree that the main log's price commits to."""
    leaves: dict[str, list[bytes]] = {identity: [] for identity in prices}
    index: dict[str, int] = {}
    for name in places.logs(folder):
        if name == places.MAIN:
            continue
        with reading(folder, name) as store:
            for identity, (_, leaf, _) in store.find(prices).items():
                if name == places.party(party):
                    index[identity] = len(leaves[identity])
                leaves[identity].append(leaf)
    return {
        identity: {
            "index": at,
            "count": len(leaves[identity]),
            "path": [h.hex() for h in tlog.inclusion(tlog.reader(leaves[identity]), at, len(leaves[identity]))],
        }
        for identity, at in index.items()
    }


def _anchor(folder: Path, party: str) -> tuple[int, int]:
    """(seq, anchored size) of the main log's last entry that anchors a head which the party's log has signed."""
    with reading(folder, places.party(party)) as store:
        log, signed = store.meta()["log"], dict(store.checkpoints())
    with reading(folder, places.MAIN) as store:
        size, _ = _signed(store, None)
        last: tuple[int, int] | None = None
        for seq, _, kind, _, _, data in store.rows():
            if kind == "anchor" and seq < size:
                body = canon.loads(data)["body"]
                last = (seq, body["size"]) if body["origin"] == log and body["size"] in signed else last
        if last is None:
            raise LedgerError(f"{log} is not anchored yet", where="prove", mend="anchor it: `vpptwin ledger anchor`")
        return last


def _chosen(store: LogReader, party: str, since_us: int, until_us: int, size: int) -> list[tuple[int, bytes]]:
    """Genesis, the party's settlements, residual shares and reversals of these slots, and what they rest on."""
    moving: dict[int, bytes] = {}
    wanted: set[str] = set()
    ids: set[str] = set()
    for seq, _, kind, eid, _, data in store.rows():
        if seq >= size or kind not in MOVES:
            continue
        body = canon.loads(data)["body"]
        if kind == "reversal":
            here = body["of"] in ids
        else:
            mine = any(account == party for account, _, _ in body["postings"])
            here = mine and since_us <= body["slot"] < until_us
        if here:
            ids.add(eid)
            moving[seq] = data
            wanted |= {body.get(name, "") for name in ("metering", "price", "contract")}
    if not moving:
        return []
    rests = [(seq, data) for seq, _, data in store.find(sorted(wanted - {""})).values() if seq < size]
    genesis = [(0, store.data(0) or b"")]
    return sorted({*genesis, *moving.items(), *rests})


def _log_key(store: LogReader, size: int) -> str:
    """The log's key at that size: genesis', or that of the last rotation."""
    genesis = canon.loads(store.data(0) or b"")
    key: str = genesis["body"]["log_key"]
    for seq, _, kind, _, _, data in store.rows():
        if kind == "key.rotate" and seq < size:
            body = canon.loads(data)["body"]
            key = body["key"] if body["name"] == genesis["log"] else key
    return key


def _signed(store: LogReader, size: int | None) -> tuple[int, str]:
    """The signed head of a size, or the last one."""
    heads = dict(store.checkpoints())
    if not heads or (size is not None and size not in heads):
        raise LedgerError("no head is signed yet", where="prove", mend="sign one (checkpoint, or close the ledger)")
    chosen = max(heads) if size is None else size
    return chosen, heads[chosen]
