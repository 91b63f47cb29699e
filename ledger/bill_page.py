"""A bill as one HTML page without scripts or outside references: the sums to recompute, the proofs folded away."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .5rem;border-bottom:1px solid #d8dde3;text-align:right;vertical-align:top}
thead th{vertical-align:bottom}td,summary{white-space:nowrap}
th:first-child,td:first-child,.t{text-align:left}td.t{white-space:normal;min-width:15rem}
tfoot td{font-weight:600;border-top:2px solid #1b1f24}.sum{font-size:1.2rem}
details{font-size:.8rem;color:#57606a}code,pre{overflow-wrap:anywhere;white-space:pre-wrap}.e{color:#9a5b00}
.wide{overflow-x:auto}@media print{body{margin:0;max-width:none;font-size:11px}}
"""


def page(bill: dict[str, Any]) -> str:
    """The page. All of it follows from `bill`; amounts are exact decimals, never floats."""
    rows = "".join(_row(line, bill["since"][:10]) for line in bill["lines"])
    head, unit, party = bill["head"], escape(bill["currency"]), escape(bill["party"])
    pays = bill["total_micro"] < 0
    anchored = (
        f"<p>The main log anchored this head. Its head:</p><pre>{escape(bill['anchored_in'])}</pre>"
        if bill["anchored_in"]
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Bill of {party}</title><style>{_STYLE}</style></head><body>
<h1>Bill of {party}</h1>
<p>From {_instant(bill["since"])} to {_instant(bill["until"])}; log {escape(bill["log"])}.</p>
<p class="sum"><strong>{party} {"pays" if pays else "receives"} {escape(bill["total"]).lstrip("-")}</strong></p>
<p>Energy taken {bill["taken_wh"]} Wh, given {bill["given_wh"]} Wh, added up per interval.
In the table a positive amount is received and a negative one paid; positive energy is given and negative taken.</p>
<p>Check any line: energy = (given at end - given at start) - (taken at end - taken at start); amount = energy in Wh
x price per kWh / 1000, rounded once to a millionth, ties to the even digit. The lines add up to the total.</p>
<div class="wide"><table><thead><tr><th>From</th><th>Taken register, Wh</th><th>Given register, Wh</th>
<th>Energy, Wh</th><th>Price, {unit}/kWh</th><th>Before rounding</th><th>Amount, {unit}</th>
<th class="t">Where the price comes from</th></tr></thead><tbody>{rows}</tbody>
<tfoot><tr><td>Total</td><td></td><td></td>
<td>{bill["total_wh"]}</td><td></td><td></td><td>{_decimal(bill["total_micro"], 6)}</td><td></td></tr></tfoot>
</table></div>
<h2>Proof</h2>
<p>Every line is an entry under this signed head of {head["size"]} entries; key <code>{escape(head["key"])}</code>.
<code>vpptwin ledger prove</code> gives a file that <code>auditor.py</code> checks without this program.</p>
<pre>{escape(head["checkpoint"])}</pre>{anchored}</body></html>
"""


def _row(line: dict[str, Any], day: str) -> str:
    registers = line["registers"]
    taken, given = (f"{a} to {b}" for a, b in (registers[:2], registers[2:])) if registers else ("", "")
    notes = [line["quality"]] if line["quality"] == "estimated" else []
    notes += [f"reverses {line['reverses']}"] if line["reverses"] else []
    notes += [f"{line['traded_wh']} Wh by contract"] if line["traded_wh"] else []
    notes += [f"revision {line['revision']}"] if line["revision"] else []
    said = f'<span class="e">{escape(", ".join(notes))}</span> ' if notes else ""
    price = _decimal(line["price_micro"], 6) if line["price_micro"] else ""
    exact = _decimal(line["exact_milli_micro"], 9) if line["price_micro"] else ""
    return (
        f"<tr><td>{_time(line['time'], day)}</td><td>{taken}</td><td>{given}</td><td>{line['wh']}</td><td>{price}</td>"
        f'<td>{exact}</td><td>{_decimal(line["micro"], 6)}</td><td class="t">{said}{escape(line["price_origin"])}'
        f"{_proof(line)}</td></tr>"
    )


def _proof(line: dict[str, Any]) -> str:
    """Folded away: the entry, the price entry it rests on, leaf and audit path."""
    proof, priced = line["proof"], line["price_entry"]
    path = "<br>".join(f"<code>{h}</code>" for h in proof["path"])
    fixed, short = "", ""
    if priced:
        short = f", price from entry {priced['seq']}"
        words = f"price {priced['id']}, entry {priced['seq']}, written {priced['written']}, from {priced['from']}"
        fixed = f"{escape(words)}<br>"
    return (
        f"<details><summary>entry {proof['seq']}{short}</summary>{escape(line['id'])}<br>{fixed}"
        f"leaf <code>{proof['leaf']}</code><br>audit path<br>{path}</details>"
    )


def _time(iso: str, day: str) -> str:
    """Local time of an interval's start, with the date where it is not the bill's first day."""
    clock = iso[11:16] if iso.startswith(day) else iso[:16].replace("T", " ")
    return f'<time datetime="{escape(iso)}" title="{escape(iso)}">{escape(clock)}</time>'


def _instant(iso: str) -> str:
    """`2016-09-05 00:00 (UTC-07:00)`."""
    return escape(f"{iso[:16].replace('T', ' ')} (UTC{iso[19:]})")


def _decimal(value: int, places: int) -> str:
    """value / 10^places, exact."""
    whole, part = divmod(abs(value), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{places}d}"
