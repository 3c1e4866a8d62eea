"""The look of the page: two themes, chosen by the reader's system, and one for paper."""

STYLE = """
:root{--bg:#faf9f7;--card:#fff;--ink:#1d2026;--muted:#666d78;--rule:#e4e1db;--ref:#aab2bd;
--now:#d4500c;--quality:#6b45d8;--good:#24804a;--c1:#0b7285;--c2:#5c940d;--c3:#862e9c;
color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--bg:#15171b;--card:#1d2025;--ink:#e9e7e3;--muted:#9ba2ad;
--rule:#31353c;--ref:#69727e;--now:#ff8e54;--quality:#ab92ff;--good:#6bd08f;--c1:#4dc4d6;
--c2:#a3d149;--c3:#d98cf0}}
@media print{:root{--bg:#fff}section{break-inside:avoid}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:34px;line-height:1.15;letter-spacing:-.02em;margin:4px 0 10px;text-wrap:balance}
h2{font-size:19px;margin:44px 0 4px}
h3{font-size:17px;margin:0}
p{margin:6px 0}
.eyebrow,.small,th{color:var(--muted);font-size:13px}
.lead{font-size:17px;max-width:76ch}
section.card,.facts{background:var(--card);border:1px solid var(--rule);border-radius:12px;
padding:18px 20px;margin:14px 0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:10px 24px}
.facts b{display:block;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:8px 28px;
margin-top:10px}
.head{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline}
.tag{font-size:12px;border-radius:99px;padding:1px 9px;color:var(--card);background:var(--now)}
.tag.quality{background:var(--quality)}
.key{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px 0 14px;
vertical-align:-1px}
.key.ref{background:var(--ref);margin-left:0}.key.now{background:var(--now)}
figure{margin:0}figcaption{color:var(--muted);font-size:13px;margin-bottom:4px}
svg{width:100%;height:auto;display:block}
svg text{font-size:12px;fill:var(--ink);font-variant-numeric:tabular-nums}
svg .t{fill:var(--muted);font-size:11px}
svg .name{font-weight:550}
svg .told{font-size:12px;font-weight:600}
.axis{stroke:var(--rule);stroke-width:1}.grid{stroke:var(--rule);stroke-width:1;opacity:.6}
.threshold{stroke:var(--muted);stroke-width:1;stroke-dasharray:4 4}
.normal{stroke:var(--muted);stroke-width:1;stroke-dasharray:2 4}
.begun{stroke-width:1.5;stroke-dasharray:5 3}
.stroke{fill:none;stroke-width:1.8;stroke-linejoin:round}
.area{stroke:none;opacity:.2}.area.ref{fill:var(--ref);opacity:.65}.fill{stroke:none}
.touch{fill:transparent}.touch:hover{fill:var(--ink);opacity:.07}
.ref.fill{fill:var(--ref)}
.now.area,.now.fill,.now.dot{fill:var(--now)}.now.stroke,.now.begun{stroke:var(--now)}
svg .now.told{fill:var(--now)}
.quality.area,.quality.fill,.quality.dot{fill:var(--quality)}
.quality.stroke,.quality.begun{stroke:var(--quality)}svg .quality.told{fill:var(--quality)}
.quiet.area{fill:var(--ref);opacity:.35}.quiet.stroke{stroke:var(--ref)}
.c0.stroke,.c0.normal{stroke:var(--now)}svg .c0.told{fill:var(--now)}
.c1.stroke,.c1.normal{stroke:var(--c1)}svg .c1.told{fill:var(--c1)}
.c2.stroke,.c2.normal{stroke:var(--c2)}svg .c2.told{fill:var(--c2)}
.c3.stroke,.c3.normal{stroke:var(--c3)}svg .c3.told{fill:var(--c3)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{text-align:right;padding:6px 8px;border-bottom:1px solid var(--rule);white-space:nowrap}
th{white-space:normal;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;white-space:normal}
td .strong{color:var(--now);font-weight:600}td .broken{color:var(--quality);font-weight:600}
td small{color:var(--muted)}
details summary{cursor:pointer;color:var(--muted)}
ul{padding-left:20px;margin:6px 0}li{margin:3px 0}
.good{color:var(--good)}
"""
