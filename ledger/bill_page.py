"""A bill as one HTML page without scripts or outside references: the sums to recompute, the proofs folded away."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}th,td{padding:.25rem .5rem;border-bottom:1px solid #d8dde3;text-align:right}
th:first-child,td:first-child,td.t{text-align:left}tfoot td{font-weight:600;border-top:2px solid #1b1f24}
details{font-size:.8rem;color:#57606a}code{overflow-wrap:anywhere}.e{color:#9a5b00}.wide{overflow-x:auto}
"""


def page(bill: dict[str, Any]) -> str:
    """The page. All of it follows from `bill`; amounts are exact decimals, never floats."""
    rows = "".join(_row(line) for line in bill["lines"])
    head, unit = bill["head"], escape(bill["currency"])
    anchored = (
        f"<p>The main log anchored this head. Its head:</p><pre>{escape(bill['anchored_in'])}</pre>"
        if bill["anchored_in"]
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Bill of {escape(bill["party"])}</title><style>{_STYLE}</style></head><body>
<h1>Bill of {escape(bill["party"])}</h1>
<p>{escape(bill["since"])} to {escape(bill["until"])}, log {escape(bill["log"])}. A positive amount is received, a
negative one paid.</p>
<p><strong>{escape(bill["total"])}</strong> for {bill["total_wh"]} Wh given net.</p>
<p>Check any line: energy = (given at end - given at start) - (taken at end - taken at start); amount = energy in Wh
x price per kWh / 1000, rounded once to a millionth, ties to the even digit. The lines add up to the total.</p>
<div class="wide"><table><thead><tr><th>Interval from</th><th>Taken register, Wh</th><th>Given register, Wh</th>
<th>Energy, Wh</th><th>Price, {unit}/kWh</th><th>Before rounding</th><th>Amount, {unit}</th>
<th>Where it comes from</th></tr></thead><tbody>{rows}</tbody><tfoot><tr><td>Total</td><td></td><td></td>
<td>{bill["total_wh"]}</td><td></td><td></td><td>{_decimal(bill["total_micro"], 6)}</td><td></td></tr></tfoot>
</table></div>
<h2>Proof</h2>
<p>Every line is an entry under this signed head of {head["size"]} entries; key <code>{escape(head["key"])}</code>.
<code>vpptwin ledger prove</code> gives a file that <code>auditor.py</code> checks without this program.</p>
<pre>{escape(head["checkpoint"])}</pre>{anchored}</body></html>
"""


def _row(line: dict[str, Any]) -> str:
    registers = line["registers"]
    taken, given = (f"{a} to {b}" for a, b in (registers[:2], registers[2:])) if registers else ("", "")
    notes = [line["quality"]] if line["quality"] == "estimated" else []
    notes += [f"reverses {line['reverses']}"] if line["reverses"] else []
    notes += [f"{line['traded_wh']} Wh by contract"] if line["traded_wh"] else []
    notes += [f"revision {line['revision']}"] if line["revision"] else []
    proof = line["proof"]
    path = "<br>".join(f"<code>{h}</code>" for h in proof["path"])
    said = f'<span class="e">{escape(", ".join(notes))}</span> ' if notes else ""
    price = _decimal(line["price_micro"], 6) if line["price_micro"] else ""
    exact = _decimal(line["exact_milli_micro"], 9) if line["price_micro"] else ""
    return (
        f"<tr><td>{escape(line['time'])}</td><td>{taken}</td><td>{given}</td><td>{line['wh']}</td><td>{price}</td>"
        f'<td>{exact}</td><td>{_decimal(line["micro"], 6)}</td><td class="t">{said}{escape(line["price_origin"])}'
        f"<details><summary>entry {proof['seq']}, {escape(line['id'])}</summary>leaf <code>{proof['leaf']}</code><br>"
        f"audit path<br>{path}</details></td></tr>"
    )


def _decimal(value: int, places: int) -> str:
    """value / 10^places, exact."""
    whole, part = divmod(abs(value), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{places}d}"
