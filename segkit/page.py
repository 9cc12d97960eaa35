"""HTML pages that hold everything they show, open anywhere and load nothing."""

import base64
import html
from string import Template

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

JPEG_QUALITY = 88


def document(title: str, body: str) -> str:
    """A whole page around its body, which is HTML already; light or dark as the reader's device is."""
    return PAGE.substitute(title=html.escape(title), style=STYLE, body=body)


def figure(picture: Picture, caption: str, alt: str, *, photo: bool = False) -> str:
    """A picture, uint8 RGB [H, W, 3], with its caption, the picture inside."""
    height, width = picture.shape[:2]
    return (
        f'<figure><img src="{embedded(picture, photo=photo)}" width="{width}" height="{height}"'
        f' alt="{html.escape(alt)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def embedded(picture: Picture, *, photo: bool = False) -> str:
    """A picture, uint8 RGB [H, W, 3], as a data URL: a PNG, or as a photo a JPEG."""
    suffix, kind, options = (".jpg", "jpeg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]) if photo else (".png", "png", [])
    written, data = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]), options)
    assert written  # both take any uint8 picture
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


ERROR_LEGEND = """<li><i style="background:#e8e8e8"></i>found and there</li>
<li><i style="background:#56b4e9"></i>found, but not there</li>
<li><i style="background:#d55e00"></i>there, but missed</li>"""
UNCERTAINTY_LEGEND = '<li><i style="background:linear-gradient(90deg,#000004,#b73779,#fcfdbf)"></i>sure to unsure</li>'

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style</style>
<main>
$body
</main>
</html>
""")

STYLE = """:root { --paper: #fbfaf7; --card: #fff; --ink: #1d2126; --soft: #626a73; --line: #e3e0d9; --accent: #0b6e63;
        --tint: #e7f2f0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171a; --card: #1c2024; --ink: #e8e6e1; --soft: #9aa3ab; --line: #2e343a; --accent: #63c7b8;
          --tint: #1b2f2d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
       font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3.5rem); }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .6rem; }
h2 { font-size: 1.2rem; margin: 3rem 0 .8rem; letter-spacing: -.01em; }
h3 { font-size: .95rem; margin: 0 0 .7rem; display: flex; flex-wrap: wrap; gap: 0 .8rem; align-items: baseline; }
a { color: var(--accent); }
h1, h2, h3, p, li, dt, dd, figcaption, footer, .scores th { overflow-wrap: anywhere; }
.scores thead th { overflow-wrap: break-word; }
p { max-width: 46rem; margin: 0 0 1rem; } .lead { font-size: 1.1rem; } small, .soft { color: var(--soft); }
h3 small { font-weight: 400; font-size: .85rem; }
.card, article { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.card { overflow-x: auto; } article { padding: 1rem; margin: 0 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .7rem 1rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; } tbody tr:last-child > * { border-bottom: 0; }
thead th { font-size: .82rem; font-weight: 500; color: var(--soft); white-space: normal; }
tbody th { font-weight: 600; }
tbody th small { display: block; font-weight: 400; line-height: 1.3; white-space: normal; }
@media (max-width: 34rem) { th, td { padding: .6rem .35rem; white-space: normal; font-size: .84rem; } }
.best > * { background: var(--tint); } .best td, .best th { color: var(--accent); font-weight: 600; }
.card + p { margin-top: .7rem; font-size: .88rem; }
.strip { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
figure { margin: 0; } img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: .8rem; color: var(--soft); padding-top: .3rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; font-size: .88rem; margin: 0 0 1rem; padding: 0;
          list-style: none; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .45rem;
            border: 1px solid var(--line); vertical-align: -1px; }
.commands { list-style: none; padding: 0; margin: 0; display: grid; gap: .8rem; grid-template-columns: minmax(0, 1fr); }
.commands code { display: block; overflow-x: auto; padding: .7rem .9rem; background: var(--card); color: var(--ink);
                 border: 1px solid var(--line); border-radius: 8px; white-space: pre; user-select: all;
                 font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.commands span { font-size: .88rem; color: var(--soft); }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .85rem;
         color: var(--soft); }
.number { white-space: nowrap; } td small, .number small { display: block; font-weight: 400; font-size: .78rem; }
.chart { padding: 1rem; display: grid; gap: 1rem 2rem; align-items: start; margin: 0 0 1rem;
         grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.chart figure { max-width: 30rem; } .chart figcaption { font-size: .85rem; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg text { fill: var(--soft); } svg .name { fill: var(--ink); } svg .grid { stroke: var(--line); }
svg .ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .bar { fill: var(--accent); opacity: .55; } svg .line { fill: none; stroke: var(--c); stroke-width: 2; }
svg .dot { fill: var(--c); } svg .hollow { fill: var(--card); stroke: var(--c); stroke-width: 1.5; }
svg .whisker { stroke: var(--c); stroke-width: 2; } svg .mark { stroke: var(--c); stroke-dasharray: 5 3; }
.mean { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 5 3; }
.s0 { --c: var(--accent); } .s1 { --c: #e69f00; } .s2 { --c: #3d9bd6; } .s3 { --c: #cc79a7; } .s4 { --c: #8a8f2a; }
.s5 { --c: #d55e00; } .legend .key { background: var(--c); border: 0; height: .28rem; width: 1.1rem;
                                      vertical-align: 3px; }
.notes { padding: .8rem 1.1rem; border-left: 4px solid #e69f00; } .notes p:last-child { margin: 0; }
@media (max-width: 34rem) { .chart { padding: .6rem; } svg { font-size: 15px; } }
@media (max-width: 34rem) {  /* the name and definition above the figures, for they need the width */
  .scores tr { display: grid; grid-template-columns: repeat(var(--columns), minmax(5.4rem, 1fr));
               border-bottom: 1px solid var(--line); min-width: calc(var(--columns) * 5.4rem); }
  .scores tr > * { border: 0; padding: .3rem .5rem; text-align: left; } .scores tbody th { width: 0; min-width: 100%; }
  .scores tr > :first-child { grid-column: 1 / -1; padding-top: .7rem; }
  .scores thead th:first-child { display: none; }
  .scores td { padding-bottom: .7rem; } .scores td small { white-space: normal; }
  .scores tbody tr:last-child { border: 0; }
}
.wide th:first-child { position: sticky; left: 0; background: var(--card); }
.wide th, .wide td { padding: .55rem .7rem; }
.confusion th, .confusion td { padding: .35rem .5rem; text-align: center; border: 0; font-size: .82rem; }
.confusion tbody th { text-align: left; white-space: nowrap; }
.confusion thead th + th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left;
                           vertical-align: bottom; white-space: nowrap; }
dl { font-size: .9rem; } dt { font-weight: 600; } dd { margin: 0 0 .7rem; color: var(--soft); max-width: 46rem; }
"""
