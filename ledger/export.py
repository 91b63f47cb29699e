"""Postings of all logs for accounting programs (hledger, beancount), as CSV, and the entries as JSON lines.

Money only: energy stands beside each posting as a comment. Closing balances are asserted, so that a pair of postings
changed alike is noticed too; that of `clearing` is 0 when the totals of the main log are those of the parties' logs.
"""

from __future__ import annotations

import csv
import heapq
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger import canon, places
from ledger.books import merged
from ledger.errors import LedgerError
from ledger.money import MICRO
from ledger.port import LogReader
from ledger.rules import MOVES
from ledger.store import reading

Stores = dict[str, LogReader]
"""Name of a log -> its database, the main log first."""


def export(folder: Path, format: str, *, name: str = "") -> Iterator[str]:
    """All logs, or the one named, as lines (each with its newline) of `hledger`, `beancount`, `csv` or `jsonl`.

    Raises LedgerError for another format, LedgerUnreadable if there is no such log.
    """
    writer = _WRITERS.get(format)
    if writer is None:
        raise LedgerError(f"no export format {format!r}", where="export", mend=f"formats: {', '.join(_WRITERS)}")
    folder = places.ledger_folder(folder)
    with ExitStack() as stack:
        names = [name] if name else places.logs(folder)
        yield from writer({one: stack.enter_context(reading(folder, one)) for one in names})


def _jsonl(stores: Stores) -> Iterator[str]:
    for store in stores.values():
        for row in store.rows():
            yield row[5].decode() + "\n"


def _csv(stores: Stores) -> Iterator[str]:
    currency = _currency(stores)
    yield _csv_line(["log", "seq", "time", "type", "id", "account", "amount_micro", "currency", "energy_given_wh"])
    for entry in _moving(stores):
        for account, micro, wh in entry["body"]["postings"]:
            head = [entry["log"], entry["seq"], _time(entry).isoformat(), entry["type"], entry["id"]]
            yield _csv_line([*head, account, micro, currency, wh])


def _hledger(stores: Stores) -> Iterator[str]:
    currency = _commodity(_currency(stores))
    yield f"commodity 1.000000 {currency}\n"
    for account in _wallets(stores):
        yield f"account wallet:{account}\n"
    day = ""
    for entry in _moving(stores):
        day = f"{_time(entry):%Y-%m-%d}"
        yield f"\n{day} {entry['type']} {entry['id']}  ; log:{entry['log']}, seq:{entry['seq']}\n"
        for account, micro, wh in entry["body"]["postings"]:
            yield f"    wallet:{account}  {_decimal(micro)} {currency}  ; wh:{wh}\n"
    if day:
        yield f"\n{day} closing balances\n"
    for account, (micro, _) in _wallets(stores).items():
        yield f"    wallet:{account}  {_decimal(0)} {currency} = {_decimal(micro)} {currency}\n"


def _beancount(stores: Stores) -> Iterator[str]:
    currency = _currency(stores).upper()
    entries = _moving(stores)
    first = next(entries, None)
    start = f"{_time(first):%Y-%m-%d}" if first else "1970-01-01"
    yield f'option "operating_currency" "{currency}"\n'
    for account in _wallets(stores):
        yield f"{start} open {_bean_account(account)} {currency}\n"
    last = start
    for entry in _moving(stores):
        last = f"{_time(entry):%Y-%m-%d}"
        yield f'\n{last} * "{entry["type"]}" "{entry["id"]}"\n  log: "{entry["log"]}"\n  seq: {entry["seq"]}\n'
        for account, micro, wh in entry["body"]["postings"]:
            yield f"  {_bean_account(account)}  {_decimal(micro)} {currency}\n    wh: {wh}\n"
    after = _next_day(last)
    yield "\n"
    for account, (micro, _) in _wallets(stores).items():
        yield f"{after} balance {_bean_account(account)}  {_decimal(micro)} ~ 0.000000 {currency}\n"


_WRITERS: dict[str, Callable[[Stores], Iterator[str]]] = {
    "hledger": _hledger,
    "beancount": _beancount,
    "csv": _csv,
    "jsonl": _jsonl,
}


def _moving(stores: Stores) -> Iterator[dict[str, Any]]:
    """Entries that move money over all logs, in order of time."""
    for *_, data in heapq.merge(*(_ordered(store, at) for at, store in enumerate(stores.values()))):
        yield canon.loads(data)


def _ordered(store: LogReader, at: int) -> Iterator[tuple[int, int, int, bytes]]:
    return ((ts, at, seq, data) for seq, ts, kind, _, _, data in store.rows() if kind in MOVES)


def _wallets(stores: Stores) -> dict[str, tuple[int, int]]:
    return merged(store.wallets() for store in stores.values())


def _currency(stores: Stores) -> str:
    data = next(iter(stores.values())).data(0)
    if data is None:
        raise LedgerError("the log is empty", where="export")
    currency: str = canon.loads(data)["body"]["currency"]
    return currency


def _commodity(currency: str) -> str:
    return currency if currency.isalpha() else f'"{currency}"'


def _bean_account(account: str) -> str:
    """`Assets:Wallet:P-home-1`; a name with other signs than letters, digits and - is written in hex."""
    plain = re.fullmatch(r"[A-Za-z0-9-]+", account)
    return "Assets:Wallet:" + (f"P-{account}" if plain else f"X-{account.encode().hex()}")


def _decimal(micro: int) -> str:
    return f"{'-' if micro < 0 else ''}{abs(micro) // MICRO}.{abs(micro) % MICRO:06d}"


def _time(entry: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(entry["ts"] // MICRO, UTC)


def _next_day(day: str) -> str:
    date = datetime.strptime(day, "%Y-%m-%d").toordinal() + 1
    return f"{datetime.fromordinal(date):%Y-%m-%d}"


def _csv_line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
