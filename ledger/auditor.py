#!/usr/bin/env python3
"""Check a bill offline: one file, standard library and `cryptography` only, nothing of vpptwin.

Usage: python auditor.py BUNDLE.json [--key LOG_KEY]

BUNDLE.json comes from `vpptwin ledger prove`. Checked are: the head's signature under the log's key; that every entry
stands under that head; that the main log anchored that head, and committed to the party's prices before their slots;
that every amount follows from the metered energy and that price, or from a contract in the main log. Give the main
log's key as you got it by another way (it is in ledger.toml and in every head): the one inside the bundle is the
operator's word.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Entry = dict[str, Any]


class AuditError(Exception):
    """Something in the bundle does not hold."""


def audit(bundle: dict[str, Any], key: str = "") -> dict[str, Any]:
    """The bill's lines and sum, if all of it holds. Raises AuditError naming what does not.

    key : of the main log, as known by another way
    """
    if bundle.get("format") != "vpptwin/proof/v3":
        raise AuditError("not a proof bundle of this version")
    main = bundle.get("main")
    size, root = _head(bundle["checkpoint"], bundle["key"] if main or not key else key)
    entries = _entries(bundle, size, root)
    genesis = entries.get("genesis")
    if genesis is None or genesis["seq"] != 0:
        raise AuditError("the log's genesis entry is missing")
    if ("party" in genesis["body"]) is not bool(main) or genesis["body"].get("party", bundle["party"]) != bundle[
        "party"
    ]:
        raise AuditError("a bill of a party's own log needs the main log's anchor of it")
    vouched = _anchored(main, key or main["key"], genesis, size, root) if main else {}
    for entry in entries.values():
        if main and entry["type"] == "price":
            _committed(entry, vouched.get(entry["id"]), main["committed"].get(entry["id"]), genesis["body"])
    facts = (entries, vouched, bundle["party"], genesis["body"])
    lines = [_line(entry, *facts) for entry in entries.values() if _moves(entry)]
    lines.sort(key=lambda line: line["seq"])
    _standing_once(lines)
    total = sum(line["micro"] for line in lines)
    return {"party": bundle["party"], "log": genesis["log"], "currency": genesis["body"]["currency"], "lines": lines,
            "total_micro": total, "total_wh": sum(line["wh"] for line in lines), "head": size}  # fmt: skip


def _entries(proved: dict[str, Any], size: int, root: bytes) -> dict[str, Entry]:
    """Entries by id, each of which stands under the head."""
    entries: dict[str, Entry] = {}
    for item in proved["entries"]:
        data = item["entry"].encode()
        leaf = hashlib.sha256(b"\x00" + data).digest()
        if not _stands(leaf, item["seq"], size, [bytes.fromhex(h) for h in item["path"]], root):
            raise AuditError(f"entry {item['seq']} does not stand under the signed head")
        entry = json.loads(data)
        if entry["seq"] != item["seq"]:
            raise AuditError(f"entry {item['seq']} is not where it says")
        entries[entry["id"]] = {**entry, "leaf": leaf.hex()}
    return entries


def _anchored(main: dict[str, Any], key: str, genesis: Entry, size: int, root: bytes) -> dict[str, Entry]:
    """The main log's entries, if it is signed by its key and one of them anchors this head of the party's log."""
    vouched = _entries(main, *_head(main["checkpoint"], key))
    begun = vouched.get("genesis", genesis)  # the key may have been rotated since
    if begun["seq"] != 0 or begun["body"]["log_key"] != genesis["body"]["main"]:
        raise AuditError("the party's log was begun under another main log's key")
    for entry in vouched.values():
        body = entry["body"]
        if entry["type"] == "anchor" and (body["origin"], body["size"], body["root"]) == (
            genesis["log"],
            size,
            root.hex(),
        ):
            return vouched
    raise AuditError("the main log's anchor of this head is missing")


def _committed(price: Entry, main: Entry | None, place: dict[str, Any] | None, genesis: Entry) -> None:
    """The main log committed to the price, in an entry of that slot written before the slot began."""
    slot = price["body"]["slot"]
    if main is None or place is None or main["type"] != "price" or main["body"]["slot"] != slot:
        raise AuditError(f"{price['id']}: the main log's commitment to this price is missing")
    if main["ts"] > slot + genesis["price_grace_us"]:
        raise AuditError(f"{price['id']}: the main log committed to it after the slot began")
    path, root = [bytes.fromhex(h) for h in place["path"]], bytes.fromhex(main["body"].get("commit", ""))
    if not _stands(bytes.fromhex(price["leaf"]), place["index"], place["count"], path, root):
        raise AuditError(f"{price['id']}: is not the price that the main log committed to")


def _standing_once(lines: list[dict[str, Any]]) -> None:
    """A slot is settled by one entry at a time: the next run only after a reversal of the one before."""
    standing: dict[tuple[str, int], str] = {}
    for line in lines:
        if line["type"] == "reversal":
            standing = {key: identity for key, identity in standing.items() if identity != line["of"]}
            continue
        what = (line["type"] + (line["contract"] or line["who"] or ""), line["slot"])
        if what in standing:
            raise AuditError(f"slot {line['slot']} is settled twice: {standing[what]}, {line['id']}")
        standing[what] = line["id"]


def _moves(entry: Entry) -> bool:
    return entry["type"] in ("settlement", "clearing", "residual", "reversal")


def _line(
    entry: Entry, entries: dict[str, Entry], vouched: dict[str, Entry], party: str, genesis: Entry
) -> dict[str, Any]:
    """One line of the bill, recomputed."""
    body = entry["body"]
    where = f"entry {entry['seq']} ({entry['id']})"
    micro = sum(m for account, m, _ in body["postings"] if account == party)
    wh = sum(w for account, _, w in body["postings"] if account == party)
    if party not in [account for account, _, _ in body["postings"]]:
        raise AuditError(f"{where}: does not move the wallet of {party}")
    if sum(m for _, m, _ in body["postings"]):
        raise AuditError(f"{where}: postings do not sum to zero")
    if entry["type"] == "settlement":
        if "contract" not in body:
            _check_settlement(entry, entries, genesis)
        elif "party" in genesis:
            _check_side(entry, vouched.get(body["contract"]), party)
        else:
            _check_contract(entry, entries)
    if entry["type"] == "residual" and "party" in genesis:
        _check_share(entry, vouched.get(body["of"]), party)
    if entry["type"] == "reversal":
        undone = entries.get(body["of"])
        if undone is None or body["postings"] != [[a, -m, -w] for a, m, w in undone["body"]["postings"]]:
            raise AuditError(f"{where}: is not the exact negation of {body['of']}")
    names = ("slot", "run", "price_micro", "quality", "metering", "price", "of", "contract", "traded")
    named = {"who": body.get("party"), **{name: body.get(name) for name in names}}
    return {"seq": entry["seq"], "id": entry["id"], "type": entry["type"], "wh": wh, "micro": micro, **named}


def _check_side(entry: Entry, contract: Entry | None, party: str) -> None:
    """A party's side of a contract of the main log."""
    body, where = entry["body"], f"entry {entry['seq']} ({entry['id']})"
    if contract is None or contract["type"] != "contract" or contract["leaf"] != body["leaf"]:
        raise AuditError(f"{where}: the main log's entry of {body['contract']} is missing")
    terms, amount = contract["body"], _rounded(body["wh"] * body["price_micro"])
    sold = {terms["seller"]: terms["wh"], terms["buyer"]: -terms["wh"]}.get(party)
    if (terms["slot"], sold, terms["price_micro"]) != (body["slot"], body["wh"], body["price_micro"]) or (
        body["postings"] != [[party, amount, body["wh"]], ["clearing", -amount, -body["wh"]]]
    ):
        raise AuditError(f"{where}: is not what {body['contract']} says")


def _check_share(entry: Entry, residual: Entry | None, party: str) -> None:
    """A party's part of what the main log's residual entry lays on the parties with logs of their own."""
    body, where = entry["body"], f"entry {entry['seq']} ({entry['id']})"
    if residual is None or residual["type"] != "residual" or residual["body"]["slot"] != body["slot"]:
        raise AuditError(f"{where}: the main log's entry {body['of']} is missing")
    value, part = body["value_micro"], body["postings"][0][1] * -1
    laid = -sum(micro for account, micro, _ in residual["body"]["postings"] if account == "clearing")
    low = value * body["wh"] // body["flow_wh"] if body["flow_wh"] else min(value, 0)
    width = 1 if body["flow_wh"] else abs(value)
    if (
        laid != value
        or not low <= part <= low + width
        or body["postings"] != [[party, -part, 0], ["clearing", part, 0]]
    ):
        raise AuditError(f"{where}: is not the part of {body['wh']} in {body['flow_wh']} Wh of {laid}")


def _check_contract(entry: Entry, entries: dict[str, Entry]) -> None:
    body, terms = entry["body"], entries[entry["body"]["contract"]]["body"]
    amount = _rounded(terms["wh"] * terms["price_micro"])
    expected = [[terms["seller"], amount, terms["wh"]], [terms["buyer"], -amount, -terms["wh"]]]
    if body["slot"] != terms["slot"] or body["postings"] != expected:
        raise AuditError(f"entry {entry['seq']} ({entry['id']}): is not what {body['contract']} says")


def _check_settlement(entry: Entry, entries: dict[str, Entry], genesis: Entry) -> None:
    body, where, party = entry["body"], f"entry {entry['seq']} ({entry['id']})", entry["body"]["party"]
    metered, price = entries.get(body["metering"]), entries.get(body["price"])
    if metered is None or price is None:
        raise AuditError(f"{where}: the metering or price entry it rests on is missing")
    reading, prices, wh = metered["body"], price["body"], body["wh"]
    if (reading["start"], reading["wh"], metered["by"]) != (body["slot"], wh, party):
        raise AuditError(f"{where}: energy is not what {body['metering']} holds")
    if "reg" in reading:
        imp0, imp1, exp0, exp1 = reading["reg"]
        if wh != (exp1 - exp0) - (imp1 - imp0):
            raise AuditError(f"{body['metering']}: energy does not follow from the registers")
    if prices["slot"] != body["slot"] or price["ts"] > body["slot"] + genesis["price_grace_us"]:
        raise AuditError(f"{where}: the price was not written before the slot")
    rest = wh - body.get("traded", 0)
    rate = (prices["sell"] if rest >= 0 else prices["buy"]).get(party)
    amount = _rounded(rest * (rate or 0))
    other = ["clearing", -amount, -rest] if "party" in genesis else [genesis["operator"], -amount, 0]
    if body["price_micro"] != rate or body["postings"] != [[party, amount, rest], other]:
        raise AuditError(f"{where}: {rest} Wh at {rate} micro/kWh is {amount} micro, not what was posted")


def _rounded(thousandths: int) -> int:
    """Whole micro-units, ties to even."""
    quotient, rest = divmod(thousandths, 1000)
    return quotient + (rest > 500 or (rest == 500 and quotient % 2 == 1))


def _head(checkpoint: str, key: str) -> tuple[int, bytes]:
    """(size, root) of a head that the key has signed."""
    text, _, signatures = checkpoint.rpartition("\n\n")
    text += "\n"
    try:
        name, ident, blob = key.split("+", 2)
        raw = base64.b64decode(blob, validate=True)
        origin, size, root, _ = text.split("\n", 3)
    except ValueError as error:
        raise AuditError("key or head are malformed") from error
    if raw[0] != 1 or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != ident or origin != name:
        raise AuditError("the key is not that of this log")
    for line in signatures.splitlines():
        _, signer, signature = line.split(" ", 2)
        signed = base64.b64decode(signature)
        if signer == name and signed[:4].hex() == ident:
            try:
                Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signed[4:], text.encode())
            except InvalidSignature as error:
                raise AuditError("the head's signature is wrong") from error
            return int(size), base64.b64decode(root, validate=True)
    raise AuditError("the head is not signed by the log's key")


def _stands(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size or any(len(h) != 32 for h in path):
        return False
    fn, sn, h = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            return False
        left = bool(fn & 1) or fn == sn
        h = hashlib.sha256(b"\x01" + (sibling + h if left else h + sibling)).digest()
        while left and not fn & 1 and fn:
            fn, sn = fn >> 1, sn >> 1
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and h == root


def main(arguments: list[str]) -> int:
    """0 the bill holds, 1 it does not, 3 it cannot be read."""
    parser = argparse.ArgumentParser(description="Check a bill of a vpptwin ledger offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", default="", help="the main log's key as you got it by another way")
    options = parser.parse_args(arguments)
    try:
        bill = audit(json.loads(options.bundle.read_text()), options.key)
    except AuditError as error:
        sys.stdout.write(f"does not hold: {error}\n")
        return 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"cannot be read: {error!r}\n")
        return 3
    for line in bill["lines"]:
        sys.stdout.write(
            f"{line['id']:<40} {line['wh']:>9} Wh {line['price_micro'] or 0:>10} micro/kWh {line['micro']:>12} micro\n"
        )
    sys.stdout.write(
        f"holds: {bill['party']} {bill['total_micro']} micro {bill['currency']} for {bill['total_wh']} Wh given,"
        f" under the head of {bill['log']} at {bill['head']} entries\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
