"""One look: a colour per quantity, the layout all figures share, the page's style sheet and script."""

from __future__ import annotations

from typing import Any

PV = "#f2a51a"
BATTERY = "#2f9e6e"
TURBINE = "#c4572b"
GRID = "#3a6fd8"
LOAD = "#64748b"
FLEXIBLE = "#9a6fd0"
ACTUAL = "#0f2a5f"
NEUTRAL = "#b6c2d2"
GOOD = "#2f9e6e"
BAD = "#d64545"
WARN = "#e9a23b"
CASES = {
    "actual": ("this run", ACTUAL),
    "perfect_foresight": ("perfect foresight (bound)", "#2f9e6e"),
    "tou_night": ("rule tou_night", "#8fa9dd"),
    "selfuse": ("rule selfuse", "#c3b1e1"),
    "no_control": ("no control", "#9aa8ba"),
}
"""Way of operating -> (words, colour), in the order of drawing."""
STATES = {"verified": GOOD, "superseded": "#9db4d6", "expired": WARN, "diverged": "#9a6fd0", "rejected": BAD}
HOMES = ("#3a6fd8", "#f2a51a", "#2f9e6e", "#c4572b", "#9a6fd0", "#1ba3b8", "#d6568a", "#7a8b2f", "#64748b", "#0f2a5f")
"""One colour a home, in turn."""
_FONT = "Inter, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Ubuntu, 'Helvetica Neue', 'Liberation Sans', sans-serif"
_GRID_LINE = "#e9eef5"


def layout(y_title: str, **more: Any) -> dict[str, Any]:
    """What every figure has: light, quiet axes, the legend above the plot, one hover box for all curves."""
    axis = {"gridcolor": _GRID_LINE, "zerolinecolor": "#b9c4d3", "linecolor": "#cfd8e3", "automargin": True}
    base: dict[str, Any] = {
        "font": {"family": _FONT, "size": 12, "color": "#334155"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 58, "r": 20, "t": 34, "b": 46},
        "hovermode": "x unified",
        "modebar": {"bgcolor": "rgba(255,255,255,0.9)", "color": "#a3b0c2", "activecolor": GRID},
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#d5dde8", "font": {"size": 12}},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "xanchor": "left",
            "font": {"size": 11.5},
        },
        "xaxis": dict(axis),
        "yaxis": {**axis, "title": {"text": y_title, "standoff": 8}},
    }
    for name, value in more.items():
        base[name] = {**base[name], **value} if isinstance(value, dict) and isinstance(base.get(name), dict) else value
    return base


CSS = """
:root{--ink:#0f172a;--soft:#5b6b80;--line:#e3e9f1;--card:#fff;--page:#f5f7fb;--blue:#3a6fd8;--good:#1f7d55;
  --bad:#c23434;--warn:#a9690b}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 FONT;
  border-top:5px solid var(--blue);-webkit-font-smoothing:antialiased}
main,header{max-width:1320px;margin:0 auto;padding:0 28px}
header{padding-top:34px;padding-bottom:6px}
h1{font-size:29px;line-height:1.2;letter-spacing:-.02em;margin:0 0 6px;font-weight:700}
.sub{color:var(--soft);margin:0}
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0 4px;padding:0;list-style:none}
.chips li{background:#e9eff9;color:#2a4a86;border-radius:999px;padding:3px 12px;font-size:13px}
.banner{background:#fff6e5;border:1px solid #f3d9a4;color:#7a4b05;border-radius:12px;padding:12px 16px;
  margin:18px 0 0}
.banner ul{margin:6px 0 0;padding-left:20px}
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:16px;margin:20px 0 22px}
.card,section{background:var(--card);border:1px solid var(--line);border-radius:14px;
  box-shadow:0 1px 2px rgba(15,23,42,.04)}
.card{padding:16px 18px 14px;position:relative;overflow:hidden;min-width:0}
.card:before{content:"";position:absolute;left:0;top:0;bottom:0;width:4px;background:var(--tone,#cfd8e3)}
.card .name{color:var(--soft);font-size:13px;font-weight:600}
.card .value{font-size:27px;line-height:1.25;font-weight:700;letter-spacing:-.02em;font-variant-numeric:tabular-nums;
  margin:3px 0 2px}
.card .value small{font-size:15px;font-weight:600;color:var(--soft);letter-spacing:0}
.card .more{color:var(--soft);font-size:13px;overflow-wrap:anywhere}
.good{--tone:#2f9e6e}.bad{--tone:#d64545}.warn{--tone:#e9a23b}.plain{--tone:#3a6fd8}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:18px}
section{padding:18px 20px 14px;min-width:0;display:flex;flex-direction:column}
section.wide{grid-column:1/-1}
h2{font-size:17px;margin:0;font-weight:650;letter-spacing:-.01em}
.head{display:flex;justify-content:space-between;align-items:center;gap:12px;flex-wrap:wrap}
.caption{color:var(--soft);font-size:13.5px;margin:3px 0 8px}
.plot{width:100%;flex:1 0 340px;min-height:340px}.wide .plot{flex-basis:410px;min-height:410px}
.absent{color:var(--soft);background:#f5f7fb;border:1px dashed #cfd8e3;border-radius:10px;padding:26px;
  text-align:center;margin:10px 0}
select{font:inherit;font-size:13.5px;color:var(--ink);border:1px solid #cfd8e3;border-radius:8px;padding:4px 8px;
  background:#fff;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:600;text-align:left;border-bottom:1px solid var(--line);padding:6px 10px 6px 0}
td{border-bottom:1px solid #eff3f8;padding:6px 10px 6px 0;vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right;padding-right:14px;white-space:nowrap}
tr:last-child td{border-bottom:0}tr.us td{font-weight:650}
.scroll{overflow:auto;max-height:300px}
ul.notes{margin:6px 0 4px;padding-left:19px}ul.notes li{margin:4px 0}
code{font:12.5px/1.5 ui-monospace,'SF Mono',Menlo,Consolas,'Liberation Mono',monospace;background:#f0f4fa;
  border-radius:6px;padding:2px 6px;overflow-wrap:anywhere}
.root{display:block;padding:10px 12px;margin:8px 0;font-size:13.5px}
.level{border-radius:6px;padding:1px 8px;font-size:12px;font-weight:600;background:#e9eff9;color:#2a4a86}
.level.warning{background:#fdf0d9;color:var(--warn)}.level.error{background:#fbe3e3;color:var(--bad)}
details summary{cursor:pointer;color:var(--soft);font-size:13.5px;margin-top:8px}
footer{color:var(--soft);font-size:13px;text-align:center;padding:26px 16px 40px}
@media(max-width:1000px){.cards{grid-template-columns:repeat(2,1fr)}.grid{grid-template-columns:minmax(0,1fr)}}
@media(max-width:560px){main,header{padding-left:14px;padding-right:14px}header{padding-top:22px}h1{font-size:23px}
.cards{gap:10px}.card{padding:12px 12px 10px 14px}.card .value{font-size:21px}section{padding:14px 12px 10px}
  .plot,.wide .plot{flex-basis:320px;min-height:320px}}
@media print{body{background:#fff}section,.card{break-inside:avoid;box-shadow:none}}
""".replace("FONT", _FONT)

SCRIPT = """
const figures = JSON.parse(document.getElementById('figures').textContent);
const touch = window.matchMedia('(hover: none)').matches;
const narrow = window.innerWidth < 700;
for (const [id, figure] of Object.entries(figures)) {
  const place = document.getElementById(id);
  const layout = figure.layout;
  if (narrow) {
    layout.margin = {...layout.margin, l: 46, r: Math.max(8, layout.margin.r - 8)};
    layout.legend = {...layout.legend, font: {size: 10.5}};
    layout.font = {...layout.font, size: 11};
  }
  Plotly.newPlot(place, figure.data, layout, {
    responsive: true, displaylogo: false, displayModeBar: touch ? false : 'hover', 
    modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d']});
}
for (const choice of document.querySelectorAll('select[data-figure]')) {
  choice.addEventListener('change', () => {
    const figure = figures[choice.dataset.figure];
    const shown = figure.views[choice.value].show;
    const visible = figure.data.map((_, index) => shown.includes(index));
    Plotly.restyle(choice.dataset.figure, {visible});
  });
}
"""
