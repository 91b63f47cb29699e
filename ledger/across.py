"""Verification of all logs of a site, and of what they say of each other.

Each log is verified by itself (verify). Then, across: every anchored head is a head of that log; every price and
settlement in a party's log is what the main log committed to, and its totals are their sums; contracts and shares of
the residual in a party's log are those of the main log; every party that has a log of its own is there. The layer of
such findings is `across`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger import canon, note, places, tlog, verify
from ledger.apart import Settled, commitment, shares
from ledger.errors import NoteError
from ledger.findings import Notice, Result
from ledger.rules.state import CLEARING
from ledger.store import reading
from ledger.verify import Finding, Report

_KINDS = frozenset(
    {"genesis", "registration", "anchor", "price", "settlement", "clearing", "reversal", "contract", "residual"}
)
_SHARED = ("currency", "operator", "grid", "slot_s")
"""What a party's log and the main log must say alike in genesis."""


@dataclass(frozen=True, slots=True)
class Audit(Result):
    """Result for all logs; `log`, `root` and `signed_size` are the main log's, `entries` counts all."""

    logs: tuple[Report, ...]


_Trades = Mapping[str, Mapping[int, Settled]]
"""Party -> slot -> what stands in its own log."""


@dataclass(slots=True)
class _Seen:
    """What one log says that others must agree with."""

    log: str = ""
    genesis: dict[str, Any] = field(default_factory=dict)
    registrations: dict[str, dict[str, Any]] = field(default_factory=dict)
    anchors: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    prices: dict[int, tuple[int, bytes, dict[str, Any]]] = field(default_factory=dict)
    """Slot -> place, leaf, body."""
    standing: dict[str, tuple[int, bytes, dict[str, Any]]] = field(default_factory=dict)
    """Id of a settlement, clearing or residual entry that stands -> the same."""
    contracts: dict[str, tuple[int, bytes, dict[str, Any]]] = field(default_factory=dict)
    """Id -> the same."""
    leaves: list[bytes] = field(default_factory=list)

    def trades(self) -> dict[int, Settled]:
        """Slot -> what stands, of a party's log."""
        return {
            body["slot"]: Settled(leaf, body["wh"], body["postings"][0][1], body.get("traded", 0))
            for _, leaf, body in self.standing.values()
            if "metering" in body
        }


def verify_all(folder: Path, *, heads: Sequence[str] = ()) -> Audit:
    """Verify every log of a run or ledger folder, all rules, and what they say of each other; heads as verify.verify.

    Raises LedgerUnreadable if there is no main log, or a log cannot be opened.
    """
    folder = places.ledger_folder(folder)
    names = places.logs(folder)
    held = _origins(heads)
    given = {name: held.pop(log, []) for name, log in _log_names(folder, names).items()}
    given[places.MAIN] += [text for texts in held.values() for text in texts]
    seen: dict[str, _Seen] = {}
    reports = {name: verify.verify(folder, heads=given[name], name=name, notice=_into(seen, name)) for name in names}
    findings = [
        Finding(one.layer, one.where if name == places.MAIN else f"{name}: {one.where}", one.what)
        for name, report in reports.items()
        for one in report.findings
    ]
    if not findings:
        findings = list(_across(seen))
    main = reports[places.MAIN]
    return Audit(
        not findings,
        tuple(findings[: verify.MAX_FINDINGS]),
        sum(report.entries for report in reports.values()),
        main.root,
        main.log,
        main.signed_size,
        tuple(reports.values()),
    )


def bodies(folder: Path, kinds: Collection[str]) -> Iterator[dict[str, Any]]:
    """Bodies of entries of these types over all logs of a ledger folder, as stored: verify first."""
    for name in places.logs(folder):
        with reading(folder, name) as store:
            for _, _, kind, _, _, data in store.rows():
                if kind in kinds:
                    yield canon.reread(data)["body"]


def _log_names(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Folder name -> the log's name as the database says; verify checks it against the entries."""
    found = {}
    for name in names:
        with reading(folder, name) as store:
            found[name] = store.meta().get("log", "")
    return found


def _into(seen: dict[str, _Seen], name: str) -> Notice:
    """What is gathered of a log while it is verified: the entries that are verified are those that are compared."""

    def take(seq: int, leaf: bytes, entry: Mapping[str, Any]) -> None:
        if seq == 0:
            seen[name] = _Seen(entry["log"])
        one, kind = seen[name], entry["type"]
        one.leaves.append(leaf)
        if kind in _KINDS:
            _note(one, kind, entry["id"], (seq, leaf, entry["body"]))

    return take


def _note(seen: _Seen, kind: str, eid: str, found: tuple[int, bytes, dict[str, Any]]) -> None:
    body = found[2]
    if kind == "genesis":
        seen.genesis = body
    elif kind == "registration":
        seen.registrations[body["wallet"]] = body
    elif kind == "anchor":
        seen.anchors.append((found[0], body))
    elif kind == "price":
        seen.prices[body["slot"]] = found
    elif kind == "contract":
        seen.contracts[eid] = found
    elif kind == "reversal":
        seen.standing.pop(body["of"], None)
    else:
        seen.standing[eid] = found


def _across(seen: Mapping[str, _Seen]) -> Iterator[Finding]:
    main = seen[places.MAIN]
    apart = {one.genesis.get("party", name): one for name, one in seen.items() if name != places.MAIN}
    yield from _members(main, apart)
    yield from _anchored(seen)
    yield from _priced(main, apart)
    trades = {party: apart[party].trades() for party in sorted(apart)}
    yield from _cleared(main, trades)
    yield from _contracted(main, apart, trades)
    yield from _shared(main, apart, trades)


def _members(main: _Seen, apart: Mapping[str, _Seen]) -> Iterator[Finding]:
    """Who is said to have a log of its own has it, begun and registered alike."""
    said = {wallet: body for wallet, body in main.registrations.items() if "log" in body}
    for party in sorted(said.keys() | apart.keys()):
        own = apart.get(party)
        if own is None or party not in said or own.log != said[party]["log"]:
            yield _finding(f"party {party}", "has no log of its own here" if own is None else "is not of the main log")
            continue
        wanted = {key: value for key, value in said[party].items() if key != "log"}
        alike = all(own.genesis.get(name) == main.genesis[name] for name in _SHARED)
        if not alike or own.genesis.get("main") != main.genesis["log_key"]:
            yield _finding(f"log {own.log}", "begins with another site, currency or main log than the main log")
        if own.registrations.get(party) != wanted:
            yield _finding(f"log {own.log}", f"registers {party} otherwise than the main log")


def _anchored(seen: Mapping[str, _Seen]) -> Iterator[Finding]:
    by_log = {one.log: one for one in seen.values()}
    roots = {
        log: _roots(
            one.leaves, {body["size"] for other in seen.values() for _, body in other.anchors if body["origin"] == log}
        )
        for log, one in by_log.items()
    }
    for one in seen.values():
        for seq, body in one.anchors:
            origin, size = body["origin"], body["size"]
            if origin in by_log and roots[origin].get(size) != body["root"]:
                had = "another root" if size in roots[origin] else f"only {len(by_log[origin].leaves)} entries"
                yield _finding(f"log {origin}", f"has {had}; entry {seq} of {one.log} anchored its head at {size}")


def _roots(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, str]:
    tree, found = tlog.Frontier(), {}
    for leaf in leaves:
        tree.push(leaf)
        if tree.size in sizes:
            found[tree.size] = tree.root().hex()
    return found


def _priced(main: _Seen, apart: Mapping[str, _Seen]) -> Iterator[Finding]:
    """Prices in the parties' logs are those that the main log committed to before the slot."""
    slots = {slot for one in (main, *apart.values()) for slot in one.prices}
    for slot in sorted(slots):
        leaves = [apart[party].prices[slot][1] for party in sorted(apart) if slot in apart[party].prices]
        held = main.prices.get(slot)
        said = "" if held is None else held[2].get("commit", "")
        if said != (commitment(leaves) if leaves else ""):
            yield _finding(
                f"prices of slot {slot}", "those in the parties' logs are not those the main log committed to"
            )


def _cleared(main: _Seen, trades: _Trades) -> Iterator[Finding]:
    """What stands in the parties' logs is what the main log committed to, and adds up to its totals."""
    cleared = {body["slot"]: (seq, body) for seq, _, body in main.standing.values() if "given_wh" in body}
    for slot in sorted({slot for one in trades.values() for slot in one} | cleared.keys()):
        here = [one[slot] for one in trades.values() if slot in one]
        seq, body = cleared.get(slot, (None, {}))
        given, taken = sum(max(one.wh, 0) for one in here), sum(max(-one.wh, 0) for one in here)
        sums = (commitment(one.leaf for one in here), len(here), given, taken, sum(one.micro for one in here))
        same = sums == tuple(body.get(name) for name in ("root", "count", "given_wh", "taken_wh", "micro"))
        if not same or body.get("traded_wh", 0) != sum(one.traded_wh for one in here):
            where = f"slot {slot}" if seq is None else f"entry {seq} (clearing of slot {slot})"
            yield _finding(where, "is not the total of what stands in the parties' logs")


def _contracted(main: _Seen, apart: Mapping[str, _Seen], trades: _Trades) -> Iterator[Finding]:
    """Every side of a contract that a party's log settled is one of the main log's contracts, and none is left out."""
    for party, one in apart.items():
        said: dict[str, tuple[Any, ...]] = {}
        for identity, (_, leaf, body) in main.contracts.items():
            sold = {body["seller"]: body["wh"], body["buyer"]: -body["wh"]}.get(party)
            if sold is not None:
                said[identity] = (body["slot"], leaf.hex(), sold, body["price_micro"])
        names = ("slot", "leaf", "wh", "price_micro")
        bodies = [body for _, _, body in one.standing.values() if "contract" in body]
        held = {body["contract"]: tuple(body[name] for name in names) for body in bodies}
        for identity in sorted(said.keys() | held.keys()):
            slot = (said.get(identity) or held[identity])[0]
            if held.get(identity) != said.get(identity) and (identity in held or slot in trades[party]):
                yield _finding(f"slot {slot}", f"{party} and the main log disagree about the contract {identity}")


def _shared(main: _Seen, apart: Mapping[str, _Seen], trades: _Trades) -> Iterator[Finding]:
    """What the main log's residual lays on the parties with logs of their own stands in these, part by part."""
    wanted: dict[tuple[int, str], tuple[Any, ...]] = {}
    for identity, (_, _, body) in main.standing.items():
        if "share_ppm" in body and any(account == CLEARING for account, _, _ in body["postings"]):
            slot = body["slot"]
            here = {party: one[slot] for party, one in trades.items() if slot in one}
            wanted |= {(slot, party): tuple(one) for party, one in shares(identity, body["postings"], here).items()}
    found = {
        (body["slot"], party): (body["of"], body["wh"], body["flow_wh"], body["value_micro"], -body["postings"][0][1])
        for party, one in apart.items()
        for _, _, body in one.standing.values()
        if "of" in body
    }
    for slot, party in sorted(wanted.keys() | found.keys()):
        if wanted.get((slot, party)) != found.get((slot, party)):
            yield _finding(f"slot {slot}", f"{party} does not bear its share of the residual that the main log says")


def _origins(heads: Sequence[str]) -> dict[str, list[str]]:
    """Heads kept elsewhere by the log they are of; the main log refuses what is no head or of no log here."""
    found: dict[str, list[str]] = {}
    for text in heads:
        try:
            origin = note.Checkpoint.parse(note.Note.parse(text).text).origin
        except NoteError:
            origin = ""
        found.setdefault(origin, []).append(text)
    return found


def _finding(where: str, what: str) -> Finding:
    return Finding("across", where, what)
