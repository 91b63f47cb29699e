"""A party's bill for a day or any span: what a person can recompute with a pocket calculator, each line with its proof.

Amounts are those of the ledger; `exact` is the product before it was rounded, in thousandths of a micro-unit.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from ledger import canon, money, prove
from ledger.auditor import audit
from ledger.money import half_even
from ledger.tlog import leaf_hash

_Entries = dict[str, tuple[dict[str, Any], dict[str, Any]]]
"""Id -> (item of the bundle, entry)."""


def bill(folder: Path, party: str, since_us: int, until_us: int, zone: tzinfo = UTC) -> dict[str, Any]:
    """The bill over slots starting in [since, until), as a plain dict; `zone` is for the times people read.

    It is made from the bundle that `prove` gives away, and only if the auditor finds that all of it holds.
    Raises LedgerError as prove.bundle, AuditError if something does not hold.
    """
    bundle = prove.bundle(folder, party, since_us, until_us)
    checked = audit(bundle)
    entries = {
        entry["id"]: (item, entry) for item in bundle["entries"] for entry in [canon.loads(item["entry"].encode())]
    }
    genesis = entries["genesis"][1]
    lines = [_line(line, entries, party, zone) for line in checked["lines"]]
    return {
        "party": party,
        "log": genesis["log"],
        "currency": genesis["body"]["currency"],
        "slot_s": genesis["body"]["slot_s"],
        "since": datetime.fromtimestamp(since_us / 1e6, zone).isoformat(),
        "until": datetime.fromtimestamp(until_us / 1e6, zone).isoformat(),
        "lines": lines,
        "taken_wh": -sum(line["wh"] for line in lines if line["wh"] < 0),
        "given_wh": sum(line["wh"] for line in lines if line["wh"] > 0),
        "total_wh": sum(line["wh"] for line in lines),
        "total_micro": sum(line["micro"] for line in lines),
        "rounding_milli_micro": sum(line["rounding_milli_micro"] for line in lines),
        "total": money.text(sum(line["micro"] for line in lines), genesis["body"]["currency"]),
        "head": {"size": checked["head"], "checkpoint": bundle["checkpoint"], "key": bundle["key"]},
        "anchored_in": bundle.get("main", {}).get("checkpoint", ""),
    }


def _line(line: dict[str, Any], entries: _Entries, party: str, zone: tzinfo) -> dict[str, Any]:
    item, entry = entries[line["id"]]
    of = entries[line["of"]][1]["body"] if line["of"] else entry["body"]
    priced = entries[of["price"]][1] if "price" in of else None
    metered = entries[of["metering"]][1]["body"] if of.get("metering") else {}
    mine = "contract" in of or of.get("party") == party  # else the other side of somebody's line
    rate = of.get("price_micro", 0) if mine else 0
    exact = line["wh"] * rate
    assert not rate or half_even(exact, 1000) == line["micro"], "the auditor has recomputed it"
    return {
        "time": datetime.fromtimestamp(of["slot"] / 1e6, zone).isoformat(),
        "slot": of["slot"],
        "type": line["type"],
        "id": line["id"],
        "registers": metered.get("reg", []) if mine or "share_ppm" in of else [],
        "metered_wh": metered.get("wh", line["wh"]) if mine or "share_ppm" in of else line["wh"],
        "traded_wh": of.get("traded", 0),
        "wh": line["wh"],
        "quality": of.get("quality", ""),
        "revision": metered.get("rev", 0),
        "price_micro": rate,
        "price_origin": _origin(of) if mine else _other_side(of),
        "price_entry": _priced(priced) if mine and priced else {},
        "exact_milli_micro": exact,
        "micro": line["micro"],
        "rounding_milli_micro": line["micro"] * 1000 - exact if rate else 0,
        "reverses": line["of"] or "",
        "proof": {"seq": item["seq"], "leaf": leaf_hash(item["entry"].encode()).hex(), "path": item["path"]},
    }


def _origin(body: dict[str, Any]) -> str:
    """Where a line's price comes from, in words."""
    if "contract" in body:
        return f"contract {body['contract']}"
    return "paid for energy given" if body.get("wh", 0) - body.get("traded", 0) >= 0 else "asked for energy taken"


def _other_side(body: dict[str, Any]) -> str:
    """What a line rests on that is not the party's own trade, in words."""
    if "share_ppm" in body:
        return f"own meter's energy; {body['wh']} Wh that no meter explains, worth {body['value_micro']} millionths"
    if "flow_wh" in body:
        share = f"{body['wh']} of {body['flow_wh']} Wh of all such parties"
        return f"share of the energy that no meter explains, {body['of']}: {share}, of {body['value_micro']} millionths"
    if "given_wh" in body:
        energy = f"given {body['given_wh']} Wh, taken {body['taken_wh']} Wh"
        return f"other side of {body['count']} parties settled in logs of their own: {energy}"
    return f"other side of what {body['party']} settled, {body['wh']} Wh"


def _priced(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry that fixed a price: place, when it was written, the plan it follows."""
    written = datetime.fromtimestamp(entry["ts"] / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    plan = entry["body"]["plan"]
    made = "the tariff, there was no plan" if plan == "none" else f"plan {plan}"
    return {"id": entry["id"], "seq": entry["seq"], "written": written, "from": made}
