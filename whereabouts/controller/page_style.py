"""How the status page looks: one style sheet, which stands in the page itself."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from whereabouts.controller.page_map import colours, rules

STYLE = (
    ":root{color-scheme:light dark;--ground:#fff;--text:#1b1f24;--quiet:#57606a;--line:#c8ced5;"
    f"--shade:#f3f5f7;--link:#0550ae;--good:#1a6b2d;--amber:#9a5b00;--red:#b3261e;{colours(dark=False)}}}"
    "@media(prefers-color-scheme:dark){:root{--ground:#0f1318;--text:#e6eaef;--quiet:#a3adb8;"
    "--line:#3a424c;--shade:#191f26;--link:#84bfff;--good:#7bd88f;--amber:#f0b35a;--red:#ff9a90;"
    f"{colours(dark=True)}}}}}"
    f"{rules()}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--ground);color:var(--text);"
    "font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1rem 0 0}"
    "a{color:var(--link)}p{margin:.25rem 0}code{font-family:ui-monospace,monospace}"
    "header p,footer,caption,.legend,.quiet{color:var(--quiet)}"
    "footer{margin-top:2rem;border-top:1px solid var(--line);padding-top:.5rem}"
    ".good{color:var(--good)}.amber{color:var(--amber)}.red{color:var(--red)}"
    ".amber,.red{font-weight:600}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;padding:.25rem 0}"
    ".list{width:100%}.list th,.list td{padding:.35rem .6rem;border-bottom:1px solid var(--line);"
    "text-align:left;vertical-align:top;font-weight:400}"
    ".list thead th{background:var(--shade);font-weight:600}"
    ".list tbody th{min-width:10.5rem}.list thead th{white-space:nowrap}"
    ".list .number{text-align:right;min-width:4.5rem;max-width:9rem}"
    ".bar{display:block;width:100%;min-width:6rem;height:.7rem;background:var(--free);fill:var(--used)}"
    ".bar.amber{fill:var(--stray)}.bar.red{fill:var(--conflict)}"
    ".map{width:100%}.map th{font:.75rem/1 ui-monospace,monospace;text-align:left;padding:0 .6rem 0 0;"
    "width:1%;min-width:7.5rem}"
    ".map td{padding:1px 0;font-size:.85rem;color:var(--quiet)}"
    ".strip{display:block;width:28rem;max-width:100%}"
    ".swatch{width:.8rem;height:.8rem;vertical-align:-.05rem}"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem 0;padding:0;"
    "font-size:.9rem}"
    "summary{cursor:pointer;font-weight:600}details{margin:.75rem 0}"
    ".examples{margin:.25rem 0;padding-left:1.25rem}"
    # Where a table's columns do not fit, each of its rows becomes a list of names and values.
    "@media(max-width:58rem){.list,.list tbody{display:block}"
    ".list thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
    ".list caption{display:block}"
    ".list tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}"
    ".list th,.list td,.list .number{display:flex;gap:.75rem;justify-content:space-between;border:0;"
    "padding:.1rem 0;text-align:right;white-space:normal}"
    ".list tbody th{font-weight:600}.list .number{max-width:none}"
    ".list [data-label]::before{content:attr(data-label);color:var(--quiet);font-weight:400;text-align:left}"
    ".bar{max-width:10rem}}"
)
"""The style sheet."""

STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
"""By which a browser knows that the style sheet is ours (CSP Level 3, section 2.3.1)."""
