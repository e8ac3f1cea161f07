"""The page's style sheet. Both palettes keep WCAG 2.1 AA: 4.5:1 for text, 3:1 for signs and the focus ring."""
from typing import Dict

_LIGHT = {
    "paper": "#fbfaf7", "card": "#ffffff", "ink": "#1c1f24", "soft": "#5a5f68", "rule": "#e2dfd6", "land": "#d3cfc4",
    "accent": "#1d5b9f", "ok": "#1f7048", "stale": "#8a5800", "failed": "#b3261e", "refused": "#8a1a78", "off": "#666b74",
}
_DARK = {
    "paper": "#14171b", "card": "#1b1f24", "ink": "#e9e7e2", "soft": "#a6abb4", "rule": "#30353c", "land": "#3b4149",
    "accent": "#8bbcff", "ok": "#6fce9b", "stale": "#e6b450", "failed": "#ff8f85", "refused": "#ee9be2", "off": "#989da6",
}


def _variables(palette: Dict[str, str]) -> str:
    return "".join("--{}:{};".format(name, colour) for name, colour in palette.items())


_RULES = """
*{box-sizing:border-box}
[hidden]{display:none!important}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 -apple-system,"Segoe UI",Roboto,"Noto Sans",
"Helvetica Neue","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
.page{max-width:1180px;margin:0 auto;padding:2.5rem 1.5rem 4rem}
a{color:var(--accent);text-decoration-thickness:1px;text-underline-offset:.15em}
h1,h2,h3,figcaption,.card{overflow-wrap:anywhere}
h1,h2,h3{line-height:1.2;font-weight:600;letter-spacing:-.01em;margin:0}
h1{font-size:clamp(1.7rem,4.6vw,2.7rem);max-width:21em;letter-spacing:-.022em;text-wrap:balance}
h2{font-size:1.15rem;margin:0 0 .9rem}
h3{font-size:1rem}
p{margin:0}
.soft,.eyebrow,figcaption,dt,small,.note{color:var(--soft)}
.eyebrow{font-size:.85rem;letter-spacing:.01em}
code,.code{font:.86em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
.symbols{position:absolute}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:3px}

header{display:grid;grid-template-columns:1fr auto;gap:.7rem 1rem;align-items:start}
header h1,header .counts,header .note{grid-column:1/-1}
header .note{max-width:52em}
button{font:inherit;color:inherit;background:none;border:1px solid var(--rule);border-radius:6px;padding:.3rem .75rem;
cursor:pointer;min-height:2.2rem}
button:hover{border-color:var(--accent);color:var(--accent)}
.counts{list-style:none;display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;padding:0;margin:.5rem 0 0}
.counts b{font-weight:600;margin-left:.15em}

.icon{width:1em;height:1em;vertical-align:-.13em;overflow:visible}
.icon .shape,.ok .shape{fill:currentColor}
.shape{fill:currentColor}
.line{fill:none;stroke:var(--paper);stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
.ok{color:var(--ok)}.stale{color:var(--stale)}.failed{color:var(--failed)}.refused{color:var(--refused)}
.excluded,.denied,.not-asked{color:var(--off)}
.badge{white-space:nowrap;font-weight:600}

section{margin-top:3rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1.1rem 1.3rem;min-width:0}
.card p+p,.card h3+p{margin-top:.3rem}
.card .problem{font-weight:600;color:var(--failed)}

.map{margin:0}
.world{display:block;width:100%;height:auto;overflow:visible}
.land{fill:none;stroke:var(--land);stroke-width:3;stroke-linecap:round;stroke-dasharray:0 5.225}
.leader{stroke:var(--soft);stroke-width:.8;fill:none}
.mark .icon{stroke:var(--paper);stroke-width:1.2;paint-order:stroke}
.world>text{font-size:12px;font-weight:700;fill:var(--ink);stroke:var(--paper);stroke-width:3.5px;paint-order:stroke;
stroke-linejoin:round}
figcaption{font-size:.85rem;margin-top:.6rem;max-width:75em}

.tools{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:center;margin-bottom:.8rem}
.tools label{color:var(--soft);font-size:.9rem}
.tools input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--off);border-radius:6px;padding:.35rem .7rem;
width:min(100%,22rem);min-height:2.4rem}
.tools output{color:var(--soft);font-size:.9rem}
.list{width:100%;border-collapse:collapse;font-size:.95rem}
.list>thead th{position:sticky;top:0;z-index:1;background:var(--paper);text-align:left;font-weight:400;padding:0 .8rem .2rem 0;
border-bottom:1px solid var(--ink);vertical-align:bottom;white-space:nowrap}
.list>thead button,.list>thead span{display:inline-block;font-size:.85rem;line-height:1.5;color:var(--soft);border:0;
padding:.35rem 0;text-align:left;min-height:2.2rem}
.list>thead button:hover{color:var(--accent)}
.list>thead [aria-sort] button{color:var(--ink);font-weight:600}
.list>thead button::after{content:"\\2195";opacity:.55;margin-left:.3em}
.list>thead [aria-sort=ascending] button::after{content:"\\2191";opacity:1}
.list>thead [aria-sort=descending] button::after{content:"\\2193";opacity:1}
.list .number{text-align:right}
.list>thead .number button{text-align:right}
.list>tbody>tr>*{text-align:left;font-weight:400;padding:.75rem .8rem 0 0;vertical-align:top}
.list>tbody>tr>.number{text-align:right}
.list>tbody>tr>*:last-child{padding-right:0}
.list>tbody{border-bottom:1px solid var(--rule)}
.list>tbody>tr>th{min-width:13rem;overflow-wrap:anywhere}
.list th b{font-weight:600}
.list th small{display:block;font-size:.85rem}
.list .reason{padding:.1rem 0 .65rem}
.list>*>tr>.reached{padding-left:1.3rem}
.reaches{display:flex;flex-wrap:wrap;gap:0 .7rem}
.reach{white-space:nowrap}
.reach.no{color:var(--failed)}.reach.none,.reach.unknown{color:var(--soft)}
.soon{color:var(--stale);font-weight:600}
.over{color:var(--failed);font-weight:600}
.strip{display:block;margin-top:.15rem}
.strip rect{fill:currentColor}
.strip .none{color:var(--off)}

details{min-width:0}
summary{cursor:pointer;color:var(--soft);font-size:.9rem;padding:.2rem 0;list-style-position:outside;margin-left:1.1em;
overflow-wrap:anywhere}
summary:hover{color:var(--accent)}
summary code{color:var(--ink)}
details[open]>summary{color:var(--ink)}
.evidence{margin:.6rem 0 1.2rem 1.1em;padding:0 0 0 1.2rem;border-left:2px solid var(--rule);display:grid;gap:1.4rem}
.evidence>*{min-width:0}
.evidence section{margin:0}
.findings{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.4rem 2.5rem}
dl{display:grid;grid-template-columns:minmax(7.5rem,max-content) minmax(0,1fr);gap:.15rem 1.2rem;margin:.4rem 0 0;
font-size:.92rem}
dd{margin:0;overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:1rem 2rem;max-width:46rem}
.plot{margin:0}
.plot figcaption{margin:0 0 .2rem}
.chart{display:block;width:100%;height:auto;overflow:visible}
.chart .line{stroke:var(--accent);stroke-width:1.6}
.chart circle{fill:var(--accent)}
.chart .frame{stroke:var(--rule);fill:none}
.chart text{font-size:10.5px;fill:var(--soft)}
.chart .end{text-anchor:end}
.seen{border-collapse:collapse;font-size:.88rem}
.seen th{text-align:left;font-weight:400;color:var(--soft)}
.seen th,.seen td{padding:.15rem 1.4rem .15rem 0;vertical-align:top}
.scroll{overflow-x:auto}
.card code{font-size:.75rem}
.meaning dt{color:inherit}
footer{margin-top:3.5rem;padding-top:1rem;border-top:1px solid var(--rule);font-size:.9rem;color:var(--soft)}
footer dl{margin:.8rem 0 1.2rem}

@media screen and (max-width:820px){
.page{padding:1.5rem 1rem 3rem}
section{margin-top:2.2rem}
.list,.list>tbody,.list>tbody>tr,.list>thead,.list>thead>tr,.list>caption{display:block}
.list>thead>tr{display:flex;flex-wrap:wrap;gap:.4rem;padding-bottom:.8rem;border-bottom:1px solid var(--ink)}
.list>thead th{position:static;border:0;padding:0}
.list>thead button{border:1px solid var(--rule);padding:.3rem .7rem}
.list>thead .still{display:none}
.list>tbody>tr:first-child{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));gap:.45rem 1rem;
padding-top:.9rem}
.list>tbody>tr>*,.list>tbody>tr>.number,.list>*>tr>.reached{display:block;padding:0;text-align:left;min-width:0}
.list>tbody>tr>th,.list>tbody>tr>.wide{grid-column:1/-1}
.list td[data-label]::before{content:attr(data-label);display:block;font-size:.78rem;color:var(--soft)}
.list>tbody>tr>.reason{padding:.5rem 0 .8rem}
.evidence{margin-left:0;padding-left:.8rem}
dl{grid-template-columns:minmax(0,1fr);gap:0}
dd{margin-bottom:.5rem}
.world>text{font-size:22px}
.land{stroke-width:3.2}
}
@media screen and (max-width:560px){
.mark{transform-box:fill-box;transform-origin:center;transform:scale(1.5)}
}
@media print{
@page{margin:14mm}
body{font-size:10pt}
.page{max-width:none;padding:0}
button.theme,.tools{display:none}
.list>thead button::after{content:none!important}
.list>thead th{position:static}
.list>thead button{min-height:0}
.list{font-size:9pt}
.list>*>tr>*,.list>*>tr>.reached{padding-left:0;padding-right:.6rem}
.list>tbody>tr>th{min-width:8rem}
.strip{width:84px}
.reached .reach{display:block}
.list>tbody,.card,.map,.plot{break-inside:avoid}
section{margin-top:1.6rem}
h2{break-after:avoid}
a{color:inherit;text-decoration:none}
details:not([open])>summary{list-style:none;margin-left:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
@media (prefers-reduced-motion:no-preference){summary,button{transition:color .12s,border-color .12s}}
"""

_AS_DARK = "{color-scheme:dark;" + _variables(_DARK) + "}"
STYLE = (":root{color-scheme:light;" + _variables(_LIGHT) + "}\n"
         "@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light])" + _AS_DARK + "}\n"
         "@media screen{:root[data-theme=dark]" + _AS_DARK + "}" + _RULES)
