"""The look of the HTML report: its style sheet and the few lines of script that draw the plots in the reader's theme."""

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #5c6775; --line: #dfe3e8; --grid: #e8ebef;
  --good: #0b7a4b; --bad: #b3261e; --warn-page: #fff6dd; --warn-line: #e0b93f; --alarm-page: #fde8e6; }
@media (prefers-color-scheme: dark) { :root { --page: #12161b; --card: #1a2027; --ink: #e7ebf0; --soft: #9aa6b4;
  --line: #2d3640; --grid: #2a323b; --good: #4cc38a; --bad: #ff8a80; --warn-page: #2e2914; --warn-line: #8a7429; --alarm-page: #3a1f1d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 6px; letter-spacing: -0.01em; }
h3 { font-size: 15px; margin: 0 0 8px; }
td small + small { opacity: .8; }
.soft, small { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; margin: 14px 0; overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 470px), 1fr)); gap: 14px; }
.grid .card { margin: 0; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13.5px; }
.facts b { color: var(--ink); font-weight: 600; }
.note, .alarm { border-left: 4px solid var(--warn-line); background: var(--warn-page); border-radius: 6px;
  padding: 9px 14px; margin: 10px 0; }
.alarm { border-color: var(--bad); background: var(--alarm-page); font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 6px 9px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
th { font-weight: 600; color: var(--soft); } th[title] { cursor: help; text-decoration: underline dotted; text-underline-offset: 3px; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
tbody tr:last-child td { border-bottom: 0; }
td small { display: block; font-size: 11.5px; }
.better { color: var(--good); font-weight: 600; } .worse { color: var(--bad); font-weight: 600; }
.few { opacity: .55; }
ul { margin: 6px 0; padding-left: 20px; } dt { font-weight: 600; margin-top: 8px; } dd { margin: 0; color: var(--soft); }
summary { cursor: pointer; font-weight: 600; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, monospace; }
.plot { width: 100%; min-height: 120px; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""

SCRIPT = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function layoutOf(figure) {
  const axis = { gridcolor: color("--grid"), zerolinecolor: color("--line"), linecolor: color("--line"), automargin: true };
  const own = figure.layout;
  return { ...own, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: color("--ink") },
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--ink") } },
    margin: { l: 8, r: 16, t: 8, b: 8, ...(own.margin || {}) },
    xaxis: { ...axis, ...(own.xaxis || {}) }, yaxis: { ...axis, ...(own.yaxis || {}) } };
}
function tracesOf(figure) {
  return figure.data.map(trace => ({ ...trace,
    ...(trace.error_x ? { error_x: { ...trace.error_x, color: color("--ink") } } : {}),
    ...(trace.error_y ? { error_y: { ...trace.error_y, color: trace.type === "bar" ? color("--ink") : undefined } } : {}) }));
}
function draw() {
  for (const [id, figure] of Object.entries(figures))
    Plotly.react(id, tracesOf(figure), layoutOf(figure), { displayModeBar: false, responsive: true });
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
"""
