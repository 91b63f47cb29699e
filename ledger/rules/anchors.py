"""Anchors: the head of another log, held in this one, so that neither can be rewritten without the other."""

from __future__ import annotations

from ledger.errors import ProofError
from ledger.rules.state import Changes, Entry, State, body_of, is_digest, is_name, refuse
from ledger.tlog import parse_hashes, verify_consistency


def anchor(state: State, entry: Entry) -> Changes:
    """A head (size, root) of log `origin`, with the digest of its checkpoint's text and a proof from the last anchor.

    `direction` is `up` (a party's log into the main log) or `down` (the main log into a party's).
    """
    body = body_of(entry, {"origin": str, "size": int, "root": str, "note": str, "direction": str, "proof": list})
    origin, size = body["origin"], body["size"]
    if body["direction"] not in ("up", "down") or not is_name(origin) or origin == entry["log"]:
        refuse(entry, "an anchor holds another log's head, up or down")
    if not is_digest(body["root"]) or not is_digest(body["note"]) or size <= 0:
        refuse(entry, "size, root or note out of range")
    last = state.get(("anchor", origin))
    if last is not None:
        _extends(entry, last)
    elif body["proof"]:
        refuse(entry, "the first anchor of a log needs no proof")
    return {("anchor", origin): (size, body["root"])}


def _extends(entry: Entry, last: tuple[int, str]) -> None:
    body = entry["body"]
    if body["size"] <= last[0]:
        refuse(entry, f"size {body['size']} after {last[0]}: an anchor must grow")
    try:
        proof = parse_hashes(body["proof"])
    except ProofError as error:
        refuse(entry, str(error))
    first_root, root = bytes.fromhex(last[1]), bytes.fromhex(body["root"])
    if not verify_consistency(last[0], body["size"], first_root, root, proof):
        refuse(
            entry,
            f"{body['origin']} at {body['size']} does not extend its anchored head at {last[0]}",
            "a fork: keep it",
        )
