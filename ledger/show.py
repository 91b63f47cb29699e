"""What a ledger holds, as plain dicts for `--json` and as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger import canon, money, places
from ledger.rules import FAMILY
from ledger.store import Store, reading
from ledger.verify import Report


def overview(folder: Path, *, last: int = 10, name: str = places.MAIN) -> dict[str, Any]:
    """Head, signed head, entries by type, wallets, residual, last entries. Shows what is stored, proves nothing.

    Raises LedgerUnreadable if there is no log, CanonError if an entry is no canonical entry.
    """
    with reading(folder, name) as store:
        kinds, slots, tail, genesis = _walked(store, last)
        signed = store.last_checkpoint()
        wallets = store.wallets()
    return {
        "log": genesis.get("log", ""),
        "keys": genesis["body"].get("keys", "") if genesis else "",
        "currency": genesis["body"].get("currency", "") if genesis else "",
        "entries": sum(kinds.values()),
        "signed_size": signed[0] if signed else 0,
        "types": dict(sorted(kinds.items(), key=lambda item: (FAMILY.get(item[0], ""), item[0]))),
        "wallets": {account: {"micro": micro, "wh": wh} for account, (micro, wh) in wallets.items()},
        "residual": slots,
        "last": tail,
    }


def entries(
    folder: Path,
    *,
    type: str = "",
    party: str = "",
    slot_us: int | None = None,
    id: str = "",
    limit: int = 1_000,
    name: str = places.MAIN,
) -> list[dict[str, Any]]:
    """Entries that match all filters given, oldest first: type, party (writer or account or party named), slot, id."""
    found: list[dict[str, Any]] = []
    with reading(folder, name) as store:
        for entry in _entries(store):
            if (type and entry["type"] != type) or (id and entry["id"] != id):
                continue
            body = entry["body"]
            if slot_us is not None and slot_us not in (body.get("slot"), body.get("start")):
                continue
            if party and party not in _named(entry):
                continue
            found.append(entry)
            if len(found) >= limit:
                break
    return found


def text(facts: dict[str, Any]) -> str:
    """The overview as lines."""
    currency = facts["currency"]
    lines = [f"log {facts['log']}: {facts['entries']} entries, head signed at {facts['signed_size']}"]
    if facts["keys"] == "derived":
        lines.append("test keys: proves integrity, not identity")
    lines += ["", "entries by type"]
    lines += [f"  {FAMILY.get(kind, '?'):<5} {kind:<14} {count:>8}" for kind, count in facts["types"].items()]
    lines += ["", f"{'wallet':<16} {'balance':>22} {'energy given':>16}"]
    lines += [
        f"{account:<16} {money.text(wallet['micro'], currency):>22} {wallet['wh'] / 1000:>12.3f} kWh"
        for account, wallet in facts["wallets"].items()
    ]
    residual = facts["residual"]
    lines += ["", f"slots closed {residual['slots']}, residual alarms {residual['alarms']}, "
              f"largest share {residual['largest_ppm'] / 10_000:.2f} %"]  # fmt: skip
    lines += ["", "last entries"]
    lines += [f"  {entry['seq']:>8}  {_utc(entry['ts'])}  {entry['type']:<12} {entry['id']}" for entry in facts["last"]]
    return "\n".join(lines)


def report(result: Report) -> dict[str, Any]:
    """A verification as a dict."""
    return {
        "ok": result.ok,
        "log": result.log,
        "entries": result.entries,
        "root": result.root,
        "signed_size": result.signed_size,
        "findings": [{"layer": f.layer, "where": f.where, "what": f.what} for f in result.findings],
    }


def report_text(result: Report) -> str:
    """A verification as lines: what holds, or each finding."""
    if result.ok:
        unsigned = result.entries - result.signed_size
        tail = f"; the last {unsigned} are not under a signed head yet" if unsigned else ""
        return f"ok: {result.entries} entries of {result.log} hold, root {result.root}{tail}"
    lines = [f"{len(result.findings)} finding(s) in {result.log or 'this log'}, {result.entries} entries:"]
    return "\n".join(lines + [f"  {finding}" for finding in result.findings])


def _walked(store: Store, last: int) -> tuple[Counter[str], dict[str, int], list[dict[str, Any]], dict[str, Any]]:
    kinds: Counter[str] = Counter()
    residual = {"slots": 0, "alarms": 0, "largest_ppm": 0}
    tail: list[dict[str, Any]] = []
    genesis: dict[str, Any] = {}
    for entry in _entries(store):
        kinds[entry["type"]] += 1
        genesis = genesis or entry
        if entry["type"] == "residual":
            residual["slots"] += entry["body"]["run"] == 0
            residual["alarms"] += entry["body"]["alarm"]
            residual["largest_ppm"] = max(residual["largest_ppm"], entry["body"]["share_ppm"])
        tail = [*tail, entry][-last:] if last else []
    return kinds, residual, tail, genesis


def _entries(store: Store) -> Iterator[dict[str, Any]]:
    for row in store.rows():
        yield canon.loads(row[5])


def _named(entry: dict[str, Any]) -> set[str]:
    body = entry["body"]
    accounts = {posting[0] for posting in body.get("postings", [])}
    prices = {*body.get("buy", {}), *body.get("sell", {})}
    return {entry["by"], body.get("party", ""), body.get("wallet", ""), *accounts, *prices}


def _utc(ts_us: int) -> str:
    return datetime.fromtimestamp(ts_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
