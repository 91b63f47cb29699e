"""`vpptwin ledger init | keygen | register | append | checkpoint | settle | reverse | close | anchor`.

Run folders are written by `run` and `serve`; these verbs are for a ledger of its own, or to mend one by reversal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger import Books, KeyRing, Ledger, LedgerError, drafts, places
from ledger.chain import Draft
from twin.cli.ledger_options import LogName
from twin.cli.output import emit_json
from twin.clock import WallClock
from twin.exits import UsageError
from twin.span import instant_us, parse_start

Folder = Annotated[Path, typer.Argument(help="A ledger folder, or a run folder.")]
Slot = Annotated[str, typer.Option(help="Start of a slot: ISO time in UTC, or seconds since 1970.")]


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    site: Annotated[str, typer.Option(help="Its logs are SITE/main and SITE/party/<id>.")],
    currency: Annotated[str, typer.Option()],
    operator: Annotated[str, typer.Option(help="The party that prices and settles.")],
    grid: Annotated[str, typer.Option(help="The party behind the grid meter.")] = "grid",
    party: Annotated[list[str] | None, typer.Option(help="A party with a log of its own; may be repeated.")] = None,
    slot_s: Annotated[int, typer.Option(help="Length of a slot, s.")] = 900,
) -> None:
    """Begin a ledger with fresh keys: genesis of the main log and of one log per --party. Prints the main log's key."""
    keys = KeyRing.load(places.keys(folder)) if places.keys(folder).exists() else KeyRing.random()
    facts = {"currency": currency, "operator": operator, "grid": grid, "slot_s": slot_s}
    now_us = WallClock().now_us
    with Books.create(folder, site=site, keys=keys, now_us=now_us, genesis=facts, apart=party or []) as books:
        typer.echo(keys.signer(books.main.log).verifier.vkey)


def keygen(
    folder: Annotated[Path, typer.Argument(help="The ledger folder; keys go to FOLDER/keys, mode 0600.")],
    name: Annotated[str, typer.Argument(help="A log or a party, to print its verifier key.")],
) -> None:
    """Make keys from the system's randomness if there are none, and print a verifier key; the secret is never shown."""
    place = places.keys(folder)
    keys = KeyRing.load(place) if place.exists() else KeyRing.random()
    keys.save(place)
    typer.echo(keys.signer(name).verifier.vkey)


def bind(
    folder: Folder,
    party: Annotated[str, typer.Argument(help="The wallet's name.")],
    role: Annotated[str, typer.Option()] = "prosumer",
    meter: Annotated[str, typer.Option(help="Its settlement meter.")] = "",
    device: Annotated[list[str] | None, typer.Option(help="Another device; may be repeated.")] = None,
) -> None:
    """Bind a wallet to its settlement meter, devices and key, in the main log and in its own."""
    keys = KeyRing.load(places.keys(places.ledger_folder(folder)))
    with _books(folder) as books:
        books.register(party, role, meter=meter, devices=device or [], keys=keys)


def append(
    folder: Folder,
    entry: Annotated[Path | None, typer.Argument(help="JSON {type, body, id, by}; a list of such; else stdin.")] = None,
    log: LogName = places.MAIN,
) -> None:
    """Append entries in one transaction; prints a receipt each. The same id with the same content gives the old one."""
    try:
        found = json.loads(entry.read_text() if entry else sys.stdin.read())
        items = [Draft(one["type"], one["body"], one["id"], one["by"], one.get("sig")) for one in _list(found)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"not an entry: {error!r}", mend="JSON with type, body, id and by") from error
    with _log(folder, log) as opened:
        emit_json([receipt._asdict() for receipt in opened.append_many(items)])


def checkpoint(folder: Folder, log: LogName = places.MAIN) -> None:
    """Sign the head and print the note; keep it elsewhere."""
    with _log(folder, log) as opened:
        sys.stdout.write(opened.checkpoint())


def settle(folder: Folder, slot: Slot) -> None:
    """Settle a slot from what the logs hold: what stands stays, what rests on older readings is settled anew."""
    with _books(folder) as books:
        _tell(books.settle([_slot_us(slot)]))


def reverse(
    folder: Folder,
    id: Annotated[str, typer.Argument(help="Id of the settlement, clearing or residual entry.")],
    reason: Annotated[str, typer.Option(help="Why, in a few words.")],
    log: LogName = places.MAIN,
) -> None:
    """Undo an entry by its exact negation; `settle` then makes the next run. Nothing is edited."""
    with _log(folder, log) as opened:
        posted = opened.state.get(("posted", id))
        if not posted:
            raise LedgerError(f"{id!r} is no standing entry of {opened.log}", where="reverse", mend="see `ledger show`")
        operator = opened.state[("genesis",)]["operator"]
        draft = drafts.reversal(operator, of=id, postings=posted[4], reason=reason)
        emit_json(opened.append_many([draft])[0]._asdict())


def anchor(folder: Folder) -> None:
    """Put the head of every party's log into the main log, and the main log's into each of them."""
    with _books(folder) as books:
        books.anchor()
        _heads(books)


def close_period(folder: Folder) -> None:
    """Close a period: anchor all logs in each other and sign every head."""
    with _books(folder) as books:
        books.anchor()
        for one in (books.main, *books.apart.values()):
            one.checkpoint()
        _heads(books)


@contextmanager
def _books(folder: Path) -> Iterator[Books]:
    with Books.open(folder, now_us=WallClock().now_us) as books:
        yield books


@contextmanager
def _log(folder: Path, name: str) -> Iterator[Ledger]:
    with Ledger.open(folder, now_us=WallClock().now_us, name=name) as opened:
        yield opened


def _heads(books: Books) -> None:
    for one in (books.main, *books.apart.values()):
        head = one.head()
        typer.echo(f"{one.log:<32} {head.size:>8} entries, root {head.root}")


def _tell(made: list[Draft]) -> None:
    typer.echo("\n".join(draft.id for draft in made) or "nothing to settle: all that is settled stands")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _slot_us(text: str) -> int:
    return int(text) * 1_000_000 if text.isdecimal() else instant_us(parse_start(text), "UTC")
