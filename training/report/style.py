"""How the report's page looks: one style sheet, light or dark as the reader's system is, for screens of any width."""

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f5f7fa; --text: #1c2128; --quiet: #5a6675;
  --line: #d9dee5; --strong: #0072b2; --warn: #9a5b00; --warn-ground: #fff4df; --good: #00704f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #151a21; --panel: #1d242d; --text: #dfe5ec; --quiet: #9aa7b5;
  --line: #333c48; --strong: #6db8ec; --warn: #f0b95a; --warn-ground: #33270f; --good: #5fcf9f; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 20px 60px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 8px 0 4px; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 40px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 22px 0 4px; }
p, ul { margin: 6px 0; max-width: 80ch; }
.quiet, figcaption, .note { color: var(--quiet); font-size: .87rem; }
.warn { background: var(--warn-ground); color: var(--warn); border-radius: 8px; padding: 10px 14px; margin: 12px 0; }
.warn ul { margin: 4px 0; padding-left: 20px; }
.facts { background: var(--panel); border-radius: 8px; padding: 10px 14px 10px 32px; max-width: none; }
nav { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 12px 0; font-size: .9rem; }
a { color: var(--strong); }
.scroll { overflow-x: auto; margin: 8px 0; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { background: var(--panel); font-weight: 600; white-space: normal; min-width: 5em; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--panel); }
.words { display: inline-block; min-width: 240px; white-space: normal; text-align: left; }
tr:last-child td { border-bottom: 0; }
tr.lead td { font-weight: 650; color: var(--strong); }
.good { color: var(--good); } .bad { color: var(--bad); }
figure { margin: 12px 0; } figure img { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 0 18px; }
code { font-size: .85em; overflow-wrap: anywhere; }
@media (max-width: 600px) { main { padding: 12px 12px 40px; } h1 { font-size: 1.3rem; }
  th, td { padding: 5px 7px; } td:first-child { min-width: 124px; max-width: 150px; white-space: normal; } }
"""
