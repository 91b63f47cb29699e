"""`vpptwin ledger`: its verbs, each imported when it is called."""

from __future__ import annotations

import typer

from twin.cli.verbs import Verb, group

_READING, _PROOFS, _WRITING, _WITNESS = (
    f"twin.cli.{name}" for name in ("ledger_reading", "ledger_proofs", "ledger_writing", "witness")
)
VERBS = {
    "verify": Verb(_READING, "verify", "Re-verify all logs, and the readings they settled."),
    "show": Verb(_READING, "show", "Show an overview, or the entries that match."),
    "bill": Verb(_PROOFS, "bill", "A party's bill for a day, each line with its proof."),
    "prove": Verb(_PROOFS, "prove", "All that a bill rests on, to be checked offline."),
    "verify-proof": Verb(_PROOFS, "verify_proof", "Check a proof without the ledger, as auditor.py does."),
    "auditor": Verb(_PROOFS, "auditor", "Print the auditor script, one file."),
    "consistency": Verb(_PROOFS, "consistency", "Prove that the log extends an older head."),
    "fork-proof": Verb(_PROOFS, "fork_proof", "Whether two signed heads prove a fork."),
    "replay": Verb(_PROOFS, "replay", "Re-execute every entry of every log from nothing."),
    "rate": Verb(_PROOFS, "rate", "Which share of the metered slots the rules settled."),
    "export": Verb(_PROOFS, "export", "Postings for accounting programs; entries as JSON."),
    "init": Verb(_WRITING, "init", "Begin a ledger with fresh keys."),
    "keygen": Verb(_WRITING, "keygen", "Make keys if there are none; print a verifier key."),
    "append": Verb(_WRITING, "append", "Append entries in one transaction."),
    "checkpoint": Verb(_WRITING, "checkpoint", "Sign the head and print the note; keep it elsewhere."),
    "settle": Verb(_WRITING, "settle", "Settle a slot from what the logs hold."),
    "reverse": Verb(_WRITING, "reverse", "Undo an entry by its exact negation."),
    "anchor": Verb(_WRITING, "anchor", "Put the heads of all logs into each other."),
    "register": Verb(_WRITING, "bind", "Bind a wallet to its meter, devices and key."),
    "close": Verb(_WRITING, "close_period", "Close a period: anchor all logs, sign every head."),
    "cosign": Verb(_WITNESS, "cosign", "Have the head cosigned by a quorum, and publish it."),
    "tiles": Verb(_WITNESS, "tiles", "Publish the log as static files, without witnesses."),
    "fsck": Verb(_WITNESS, "check", "Check what is published, tile by tile."),
    "witness": Verb(_WITNESS, "witness", "Run a witness, or see eight of them refuse a fork."),
}
"""In the order of `vpptwin ledger --help`."""

app = typer.Typer(cls=group(VERBS), help="The settlement ledger of a run.", no_args_is_help=True)
