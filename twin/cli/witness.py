"""`vpptwin ledger witness | cosign | tiles | fsck`: heads under a quorum of witnesses, and what is published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ledger import Ledger, canon, fsck, places
from ledger.note import Verifier
from ledger.policy import Policy
from ledger.publish import publish
from ledger.store import reading
from ledger.witness import Cosigners
from twin.cli.ledger_options import Json, LogName, RunDir
from twin.cli.output import console, emit_json
from twin.clock import WallClock
from twin.exits import FINDING, UsageError
from twin.witness import demo as demonstration
from twin.witness import node

witness = typer.Typer(help="Run a witness, or see eight of them refuse a fork.", no_args_is_help=True)
KEPT = "The folder of its key and memory; made if it is new."


@witness.command()
def key(folder: Annotated[Path, typer.Argument(help=KEPT)], name: Annotated[str, typer.Argument()]) -> None:
    """Print the verifier key of a witness, for policies."""
    typer.echo(node.make(folder, name).cosigner.vkey)


@witness.command()
def serve(
    folder: Annotated[Path, typer.Argument(help=KEPT)],
    name: Annotated[str, typer.Argument(help="Its name, such as witness.example/w1.")],
    log: Annotated[list[str], typer.Option(help="Verifier key of a log to cosign; may be repeated.")],
    validate: Annotated[
        str, typer.Option(help="Re-execute every rule: the folder or address where the log is published.")
    ] = "",
    port: Annotated[int, typer.Option(help="0: one that is free.")] = 0,
) -> None:
    """Cosign heads of logs until interrupted (C2SP tlog-witness on 127.0.0.1; put a TLS proxy in front of it)."""
    node.serve(folder, name, log, validate=validate, host="127.0.0.1", port=port)


@witness.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="Keep logs, policy and memories here; must not exist.")] = None,
    nodes: Annotated[int, typer.Option(min=1, max=32)] = 8,
    quorum: Annotated[int, typer.Option(min=1, max=32)] = 6,
    as_json: Json = False,
) -> None:
    """Start local witnesses that re-execute the rules, grow a log under them, then try a fork and a rollback."""
    if quorum > nodes:
        raise UsageError(f"a quorum of {quorum} of {nodes} can never be had", mend="ask for fewer")
    if out is not None and out.exists():
        raise UsageError(f"{out} exists", mend="name a folder that does not")
    done = []
    with _folder(out) as folder:
        for step in demonstration.demonstrate(folder, nodes, quorum):
            done.append(step)
            if not as_json:
                typer.echo(f"{'as it must be' if step.good else 'WRONG':<13}| {step.tried:<56}| {step.answered}")
    good = all(step.good for step in done)
    if as_json:
        emit_json({"good": good, "nodes": nodes, "quorum": quorum, "steps": [step._asdict() for step in done]})
    if not good:
        raise typer.Exit(FINDING)


def cosign(
    run_dir: RunDir,
    policy: Annotated[Path | None, typer.Option(help="Whom to ask; else the ledger folder's file `policy`.")] = None,
    log: LogName = places.MAIN,
    as_json: Json = False,
) -> None:
    """Sign the head, have it cosigned by a quorum of the policy's witnesses, and publish it."""
    folder = places.ledger_folder(run_dir)
    trust = Policy.load(policy or places.policy(folder))
    with Ledger.open(folder, now_us=WallClock().now_us, name=log) as ledger, Cosigners(trust) as cosigners:
        found = publish(ledger, cosigners)
        head = ledger.head()
    if as_json:
        emit_json({"size": head.size, "root": head.root, "cosigned": found.cosigned, "refused": found.refused})
        return
    for name, why in found.refused.items():
        console.print(f"{name} did not cosign: {why}", markup=False, soft_wrap=True)
    typer.echo(f"{head.size} entries cosigned by {', '.join(found.cosigned)}; published in {places.tiles(folder, log)}")


def tiles(run_dir: RunDir, log: LogName = places.MAIN) -> None:
    """Publish the log as static files that any web server may serve (C2SP tlog-tiles), without asking witnesses."""
    folder = places.ledger_folder(run_dir)
    with Ledger.open(folder, now_us=WallClock().now_us, name=log) as ledger:
        publish(ledger)
        typer.echo(f"{ledger.head().size} entries published in {places.tiles(folder, log)}")


def check(
    run_dir: RunDir,
    key: Annotated[str, typer.Option(help="The log's verifier key as you got it by another way.")] = "",
    log: LogName = places.MAIN,
    as_json: Json = False,
) -> None:
    """Check what is published: rebuild the tree from the entries, compare every tile, check the head's signature."""
    folder = places.ledger_folder(run_dir)
    found = list(fsck.faults(places.tiles(folder, log), Verifier.parse(key or _log_key(folder, log))))
    if as_json:
        emit_json({"ok": not found, "findings": found})
    else:
        for fault in found:
            console.print(f"finding: {fault}", markup=False, soft_wrap=True)
        typer.echo("what is published holds" if not found else f"{len(found)} findings")
    if found:
        raise typer.Exit(FINDING)


def _log_key(folder: Path, log: str) -> str:
    """The key in genesis; a rotated one has to be given."""
    with reading(folder, log) as store:
        vkey: str = canon.loads(store.data(0) or b"")["body"]["log_key"]
    return vkey


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        out.mkdir(parents=True)
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="vpptwin-witness-") as name:
        yield Path(name)
