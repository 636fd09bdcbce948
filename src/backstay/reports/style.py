"""The colours of all of Backstay's pages, by day and by night.

Each is legible as text on the paper: a contrast of 4.5 to 1 or more
(https://www.w3.org/TR/WCAG22/#contrast-minimum).
"""

COLOURS = """
:root { color-scheme: light dark; --ink: #1a1c20; --paper: #fff; --soft: #5b6270; --rule: #d8dbe2;
  --good: #2e7d4f; --bad: #c62828; --busy: #2f6fb3; --doubt: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --paper: #16181c; --soft: #9aa1ad;
  --rule: #353a42; --good: #4fae78; --bad: #ef5350; --busy: #5a9bdc; --doubt: #d9a441; } }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .rule { stroke: var(--rule); }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); } svg .busy { fill: var(--busy); }
"""
"""The head of a style sheet."""
