"""What a ledger holds, as plain dicts for `--json` and as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger import canon, money, places
from ledger.books import merged
from ledger.port import LogReader
from ledger.rules import FAMILY
from ledger.store import reading
from ledger.verify import Report


def overview(folder: Path, *, last: int = 10) -> dict[str, Any]:
    """Head, signed head, logs, entries by type, wallets, residual, last entries of the main log; proves nothing.

    Raises LedgerUnreadable if there is no log, CanonError if an entry is no canonical entry.
    """
    folder = places.ledger_folder(folder)
    kinds: Counter[str] = Counter()
    wallets: list[dict[str, tuple[int, int]]] = []
    sizes: dict[str, int] = {}
    facts: dict[str, Any] = {}
    for name in places.logs(folder):
        with reading(folder, name) as store:
            if name == places.MAIN:
                counted, slots, tail, genesis = _walked(store, last)
                facts = _main(store, genesis)
            else:
                counted = Counter(row[2] for row in store.rows())
            kinds += counted
            sizes[name] = sum(counted.values())
            wallets.append(store.wallets())
    return {
        **facts,
        "entries": sum(kinds.values()),
        "logs": sizes,
        "types": dict(sorted(kinds.items(), key=lambda item: (FAMILY.get(item[0], ""), item[0]))),
        "wallets": {account: {"micro": micro, "wh": wh} for account, (micro, wh) in merged(wallets).items()},
        "residual": slots,
        "last": tail,
    }


def _main(store: LogReader, genesis: dict[str, Any]) -> dict[str, Any]:
    signed = store.last_checkpoint()
    body = genesis.get("body", {})
    return {
        "log": genesis.get("log", ""),
        "keys": body.get("keys", ""),
        "currency": body.get("currency", ""),
        "signed_size": signed[0] if signed else 0,
    }


def entries(
    folder: Path,
    *,
    type: str = "",
    party: str = "",
    slot_us: int | None = None,
    id: str = "",
    limit: int = 1_000,
    name: str = "",
) -> list[dict[str, Any]]:
    """Entries that match all filters given: type, party (writer or account or party named), slot, id.

    Those of the log `name`, or of all: the main log's first, then the parties', each oldest first.
    """
    folder = places.ledger_folder(folder)
    found: list[dict[str, Any]] = []
    for log in [name] if name else places.logs(folder):
        with reading(folder, log) as store:
            for entry in _entries(store):
                if len(found) >= limit:
                    break
                if _matches(entry, type, party, slot_us, id):
                    found.append(entry)
    return found


def _matches(entry: dict[str, Any], type: str, party: str, slot_us: int | None, id: str) -> bool:
    if (type and entry["type"] != type) or (id and entry["id"] != id):
        return False
    body = entry["body"]
    if slot_us is not None and slot_us not in (body.get("slot"), body.get("start")):
        return False
    return not party or party in _named(entry)


def text(facts: dict[str, Any]) -> str:
    """The overview as lines."""
    currency = facts["currency"]
    lines = [f"log {facts['log']}: {facts['logs'][places.MAIN]} entries, head signed at {facts['signed_size']}"]
    if len(facts["logs"]) > 1:
        lines.append(f"{len(facts['logs']) - 1} parties have logs of their own; {facts['entries']} entries in all")
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


def _walked(store: LogReader, last: int) -> tuple[Counter[str], dict[str, int], list[dict[str, Any]], dict[str, Any]]:
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


def _entries(store: LogReader) -> Iterator[dict[str, Any]]:
    for row in store.rows():
        yield canon.loads(row[5])


def _named(entry: dict[str, Any]) -> set[str]:
    body = entry["body"]
    accounts = {posting[0] for posting in body.get("postings", [])}
    prices = {*body.get("buy", {}), *body.get("sell", {})}
    return {entry["by"], body.get("party", ""), body.get("wallet", ""), *accounts, *prices}


def _utc(ts_us: int) -> str:
    return datetime.fromtimestamp(ts_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
