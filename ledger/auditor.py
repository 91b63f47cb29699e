#!/usr/bin/env python3
"""Check a bill offline: one file, standard library and `cryptography` only, nothing of vpptwin.

Usage: python auditor.py BUNDLE.json [--key LOG_KEY]

BUNDLE.json comes from `vpptwin ledger prove`. Checked are: the head's signature under the log's key; that every entry
stands under that head; that every amount follows from the metered energy and the price written before the slot.
Give the log's key (or a head) as you got it by another way: the one inside the bundle is the operator's word.
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
    """The bill's lines and sum, if all of it holds. Raises AuditError naming what does not."""
    if bundle.get("format") != "vpptwin/proof/v1":
        raise AuditError("not a proof bundle of this version")
    size, root = _head(bundle["checkpoint"], key or bundle["key"])
    entries: dict[str, Entry] = {}
    for item in bundle["entries"]:
        data = item["entry"].encode()
        if not _stands(data, item["seq"], size, [bytes.fromhex(h) for h in item["path"]], root):
            raise AuditError(f"entry {item['seq']} does not stand under the signed head")
        entry = json.loads(data)
        if entry["seq"] != item["seq"]:
            raise AuditError(f"entry {item['seq']} is not where it says")
        entries[entry["id"]] = entry
    genesis = entries.get("genesis")
    if genesis is None or genesis["seq"] != 0:
        raise AuditError("the log's genesis entry is missing")
    lines = [_line(entry, entries, bundle["party"], genesis["body"]) for entry in entries.values() if _moves(entry)]
    lines.sort(key=lambda line: line["seq"])
    _standing_once(lines)
    total = sum(line["micro"] for line in lines)
    return {"party": bundle["party"], "log": genesis["log"], "currency": genesis["body"]["currency"], "lines": lines,
            "total_micro": total, "total_wh": sum(line["wh"] for line in lines), "head": size}  # fmt: skip


def _standing_once(lines: list[dict[str, Any]]) -> None:
    """A slot is settled by one entry at a time: the next run only after a reversal of the one before."""
    standing: dict[tuple[str, int], str] = {}
    for line in lines:
        if line["type"] == "reversal":
            standing = {key: identity for key, identity in standing.items() if identity != line["of"]}
        elif (line["type"], line["slot"]) in standing:
            raise AuditError(
                f"slot {line['slot']} is settled twice: {standing[line['type'], line['slot']]}, {line['id']}"
            )
        else:
            standing[line["type"], line["slot"]] = line["id"]


def _moves(entry: Entry) -> bool:
    return entry["type"] in ("settlement", "residual", "reversal")


def _line(entry: Entry, entries: dict[str, Entry], party: str, genesis: Entry) -> dict[str, Any]:
    """One line of the bill, recomputed."""
    body = entry["body"]
    where = f"entry {entry['seq']} ({entry['id']})"
    micro = sum(m for account, m, _ in body["postings"] if account == party)
    wh = sum(w for account, _, w in body["postings"] if account == party)
    if sum(m for _, m, _ in body["postings"]):
        raise AuditError(f"{where}: postings do not sum to zero")
    if entry["type"] == "settlement":
        _check_settlement(entry, entries, party, genesis)
    if entry["type"] == "reversal":
        undone = entries.get(body["of"])
        if undone is None or body["postings"] != [[a, -m, -w] for a, m, w in undone["body"]["postings"]]:
            raise AuditError(f"{where}: is not the exact negation of {body['of']}")
    named = {name: body.get(name) for name in ("slot", "run", "price_micro", "quality", "metering", "price", "of")}
    return {"seq": entry["seq"], "id": entry["id"], "type": entry["type"], "wh": wh, "micro": micro, **named}


def _check_settlement(entry: Entry, entries: dict[str, Entry], party: str, genesis: Entry) -> None:
    body, where = entry["body"], f"entry {entry['seq']} ({entry['id']})"
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
    rate = (prices["sell"] if wh >= 0 else prices["buy"]).get(party)
    quotient, rest = divmod(wh * (rate or 0), 1000)
    amount = quotient + (rest > 500 or (rest == 500 and quotient % 2 == 1))
    expected = [[party, amount, wh], [genesis["operator"], -amount, 0]]
    if body["price_micro"] != rate or body["postings"] != expected:
        raise AuditError(f"{where}: {wh} Wh at {rate} micro/kWh is {amount} micro, not what was posted")


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


def _stands(data: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size or any(len(h) != 32 for h in path):
        return False
    fn, sn, h = index, size - 1, hashlib.sha256(b"\x00" + data).digest()
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
    parser.add_argument("--key", default="", help="the log's key as you got it by another way")
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
