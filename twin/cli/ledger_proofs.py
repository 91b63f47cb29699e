"""`vpptwin ledger bill | prove | verify-proof | auditor | consistency | fork-proof | replay | rate | export`."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

import ledger.auditor
from ledger import Books, Ledger, LedgerError, note, places, receipt, tlog
from ledger.auditor import AuditError
from ledger.bill import bill as billing
from ledger.bill_page import page
from ledger.errors import NoteError, ProofError
from ledger.export import export as exporting
from ledger.policy import Policy
from ledger.prove import bundle
from twin.cli.ledger_options import Json, LogName, RunDir
from twin.cli.output import console, emit_json
from twin.exits import FINDING, UsageError
from twin.span import instant_us, parse_start

T = TypeVar("T")
Party = Annotated[str, typer.Option(help="Whose: a party of the site.")]
Day = Annotated[str, typer.Option(help="A day, such as 2016-09-05: from midnight to midnight in --zone.")]
Zone = Annotated[str, typer.Option(help="Time zone of --day; else the site's, as the run's report has it.")]
Key = Annotated[str, typer.Option(help="The log's verifier key, as you got it by another way.")]
DATA = "report_data.json"


def bill(
    run_dir: RunDir,
    party: Party,
    day: Day,
    zone: Zone = "",
    out: Annotated[Path, typer.Option(help="Folder of the two files.")] = Path(),
    as_json: Json = False,
) -> None:
    """A party's bill for a day: registers, energy, price and its origin, rounding, total; each line with its proof.

    Writes bill-PARTY-DAY.html and .json, or prints the JSON with --json.
    """
    where = _zone(run_dir, zone)
    found = _held(lambda: billing(run_dir, party, *_span(day, where), ZoneInfo(where)))
    if as_json:
        emit_json(found)
        return
    name = out / f"bill-{party}-{day}"
    places.write_whole(name.with_suffix(".html"), page(found), 0o644)
    places.write_whole(name.with_suffix(".json"), json.dumps(found, indent=1) + "\n", 0o644)
    typer.echo(f"{party} {day}: {found['total']}, {len(found['lines'])} lines, in {name}.html and .json")


def prove(
    run_dir: RunDir,
    party: Party = "",
    day: Day = "",
    zone: Zone = "",
    seq: Annotated[int, typer.Option(help="Instead: the receipt of this entry (C2SP tlog-proof).")] = -1,
    log: LogName = places.MAIN,
    out: Annotated[Path | None, typer.Option(help="Write here; else to stdout.")] = None,
) -> None:
    """A party's bill for a day with all it rests on and all audit paths: a file that auditor.py checks offline."""
    if seq >= 0:
        text = receipt.entry_receipt(places.ledger_folder(run_dir), seq, name=log)
    elif party and day:
        text = json.dumps(bundle(run_dir, party, *_span(day, _zone(run_dir, zone))), indent=1) + "\n"
    else:
        raise UsageError("nothing to prove", mend="give --party and --day, or --seq")
    if out is None:
        sys.stdout.write(text)
    else:
        places.write_whole(out, text, 0o644)
        hint = "auditor.py" if seq < 0 else "vpptwin ledger verify-proof, with the entry's bytes"
        typer.echo(f"proof in {out}, for {hint} and the log's key")


def verify_proof(
    proof: Annotated[Path, typer.Argument(help="A bundle of `ledger prove`, or a tlog-proof.")],
    key: Key = "",
    entry: Annotated[Path | None, typer.Option(help="For a tlog-proof: the file with the entry's bytes.")] = None,
    as_json: Json = False,
) -> None:
    """Check a proof without the ledger, as auditor.py does; exit status 1 if it does not hold."""
    if entry is not None:
        head = _held(lambda: receipt.check(proof.read_text(), entry.read_bytes().rstrip(b"\n"), _policy(key)))
        found: dict[str, Any] = {"holds": True, "log": head.origin, "size": head.size, "root": head.root.hex()}
    else:
        try:
            bundled = json.loads(proof.read_text())
        except ValueError as error:
            raise LedgerError(f"is no bundle: {error}", where=str(proof), mend="a tlog-proof needs --entry") from error
        found = {"holds": True, **_held(lambda: ledger.auditor.audit(bundled, key))}
    if as_json:
        emit_json(found)
    else:
        facts = {name: value for name, value in found.items() if name not in ("lines", "holds")}
        typer.echo("holds: " + ", ".join(f"{name} {value}" for name, value in facts.items()))


def auditor() -> None:
    """Print the auditor script: one file that needs Python and `cryptography` only."""
    sys.stdout.write(Path(ledger.auditor.__file__).read_text(encoding="utf-8"))


def consistency(
    run_dir: RunDir,
    first: Annotated[int, typer.Option(help="Number of entries of the older head.")] = 0,
    head: Annotated[Path | None, typer.Option(help="Or the older head itself, a signed note that was kept.")] = None,
    log: LogName = places.MAIN,
    as_json: Json = False,
) -> None:
    """Proof that the log as it is now extends an older head; exit status 1 if it does not."""
    with Ledger.open(run_dir, readonly=True, name=log) as opened:
        old = None if head is None else note.Checkpoint.parse(note.Note.parse(head.read_text()).text)
        size = first if old is None else old.size
        now = opened.head()
        try:
            path = opened.consistency(size)
        except ProofError as error:
            raise UsageError(str(error), mend="give --first or --head of this log, not beyond its end") from error
    good = old is None or tlog.verify_consistency(size, now.size, old.root, bytes.fromhex(now.root), path)
    if as_json:
        proof = [h.hex() for h in path]
        emit_json({"holds": good, "first": size, "second": now.size, "root": now.root, "proof": proof})
    else:
        typer.echo(f"{'extends' if good else 'does NOT extend'}: {size} to {now.size} entries, root {now.root}")
        for one in path:
            typer.echo(one.hex())
    if not good:
        raise typer.Exit(FINDING)


def fork_proof(
    one: Annotated[Path, typer.Argument(help="A signed head.")],
    other: Annotated[Path, typer.Argument(help="Another one of the same log.")],
    key: Key,
    as_json: Json = False,
) -> None:
    """Whether two signed heads prove a fork: signed by the log, of one size, with two roots. Exit 1 if so."""
    verifier = note.Verifier.parse(key)
    heads = []
    for path in (one, other):
        parsed = note.Note.parse(path.read_text())
        if not parsed.verify([verifier]):
            raise LedgerError(f"is not signed by {verifier.name}", where=str(path), mend="it proves nothing")
        heads.append(note.Checkpoint.parse(parsed.text))
    fork = heads[0].size == heads[1].size and heads[0] != heads[1]
    if as_json:
        facts = {"sizes": [head.size for head in heads], "roots": [head.root.hex() for head in heads]}
        emit_json({"fork": fork, "log": verifier.name, **facts})
    else:
        same = "the same head" if heads[0] == heads[1] else "heads of two sizes: ask for `ledger consistency`"
        typer.echo("FORK: the log's key signed two roots of one size; keep both files" if fork else f"no fork: {same}")
    if fork:
        raise typer.Exit(FINDING)


def replay(run_dir: RunDir, as_json: Json = False) -> None:
    """Re-execute every entry of every log from nothing; prints the heads found."""
    folder = places.ledger_folder(run_dir)
    found = {}
    for name in places.logs(folder):
        with Ledger.open(folder, readonly=True, name=name) as opened:
            found[opened.log] = opened.replay()._asdict()
    if as_json:
        emit_json(found)
        return
    for log, head in found.items():
        typer.echo(f"{log:<32} {head['size']:>8} entries, root {head['root']}")


def rate(
    run_dir: RunDir,
    since: Annotated[str, typer.Option(help="ISO date or time; else from the beginning.")] = "",
    until: Annotated[str, typer.Option(help="ISO date or time; else to the end.")] = "",
    zone: Zone = "",
    as_json: Json = False,
) -> None:
    """On-chain rate: which share of the metered slots of all parties the rules settled by themselves."""
    where = _zone(run_dir, zone)
    span = [instant_us(parse_start(day), where) if day else edge for day, edge in ((since, 0), (until, 2**62))]
    with Books.open(run_dir, readonly=True) as books:
        found = books.onchain_rate(*span)
    if as_json:
        emit_json({"numerator": found.numerator, "denominator": found.denominator, "rate": float(found)})
    else:
        span_text = " ".join(filter(None, [since and f"from {since}", until and f"until {until}"])) or "all slots"
        typer.echo(
            f"on-chain rate {float(found):.2%} ({span_text}): of the metered slots of all parties that trade, "
            "the share that the rules settled by themselves"
        )


def export(
    run_dir: RunDir,
    format: Annotated[str, typer.Option("--format", help="hledger, beancount, csv or jsonl.")],
    log: Annotated[str, typer.Option("--log", help="One log only: main, or party/<id>.")] = "",
) -> None:
    """Postings of all logs for accounting programs, or as CSV; entries as JSON lines. To stdout."""
    for line in exporting(run_dir, format, name=log):
        sys.stdout.write(line)


def _held(check: Callable[[], T]) -> T:
    """The result of a check; what does not hold ends with exit status 1 and says why."""
    try:
        return check()
    except (AuditError, ProofError, NoteError) as error:
        console.print(f"does not hold: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(FINDING) from error
    except (KeyError, TypeError) as error:
        raise LedgerError(f"is not a proof: {error!r}", where="proof", mend="make it with `ledger prove`") from error


def _policy(key: str) -> Policy:
    if not key:
        raise UsageError("no key", where="--key", mend="give the log's verifier key as you got it by another way")
    return Policy.parse(f"log {key}\nquorum none\n")


def _zone(run_dir: Path, zone: str) -> str:
    """The zone asked for, or the site's as the run has it, or UTC."""
    name = zone
    if not name:
        path = run_dir / DATA
        name = json.loads(path.read_text()).get("zone", "UTC") if path.exists() else "UTC"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(f"no time zone {name!r}", where="--zone", mend="a name such as Europe/Berlin") from error
    return str(name)


def _span(day: str, zone: str) -> tuple[int, int]:
    """[midnight, next midnight) of a local day, µs UTC."""
    try:
        date = dt.date.fromisoformat(day)
    except ValueError as error:
        raise UsageError(f"no day {day!r}", where="--day", mend="write 2016-09-05") from error
    edges = [instant_us(parse_start((date + dt.timedelta(days=n)).isoformat()), zone) for n in (0, 1)]
    return edges[0], edges[1]
