"""A graph -> one HTML file: the SVG, and for each step what `show` and `why` say. No script, nothing loaded: links and
`:target` open a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alchemist_dsl.graph.colors import DARK, LIGHT, Theme
from alchemist_dsl.graph.model import Figure, Graph, Link, Step
from alchemist_dsl.graph.svg import anchor, image, subtitle, summary, text
from alchemist_dsl.graph.text import reads


def page(graph: Graph) -> str:
    """The page."""
    title = text(graph.title or graph.recipe)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}{_colors(LIGHT)}@media (prefers-color-scheme:dark){{{_colors(DARK)}}}",
            *(_chosen(s) for s in graph.steps),
            "</style>",
            "</head>",
            "<body>",
            f"<header><h1>{title}</h1><p>{text(subtitle(graph))}</p></header>",
            f'<main tabindex="0" aria-label="The graph">{image(graph, inside=True)}</main>',
            f'<section class="all" aria-label="All steps"><p>{text(summary(graph))}</p>{_table(graph.steps)}</section>',
            *(_article(s, graph) for s in graph.steps),
            "</body>",
            "</html>\n",
        ]
    )


# --- parts ------------------------------------------------------------------------------------------------------------


def _link(name: str) -> str:
    return f'<a href="#{anchor(name)}">{text(name)}</a>'


def _table(steps: Sequence[Step]) -> str:
    """All steps, for who reads no drawings."""
    spends = any(s.figure("usd") for s in steps)
    rows = [
        f"<tr><th scope=row>{_link(s.name)}</th><td>{text(s.kind)}</td><td class=n>{text(s.figure('rows'))}</td>"
        + (f"<td class=n>{text(s.figure('usd'))}</td>" if spends else "")
        + f'<td><span class="{s.tone}">{_caption(s)}</span></td></tr>'
        for s in steps
    ]
    cost = "<th class=n>cost</th>" if spends else ""
    head = f"<tr><th>step</th><th>kind</th><th class=n>rows</th>{cost}<th>now</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _caption(step: Step) -> str:
    return ", ".join(w for w in (step.change, step.doing) if w) or "planned"


def _article(step: Step, graph: Graph) -> str:
    why = f": {text('; '.join(step.why))}" if step.why else ""
    parts = [
        f'<h2>{text(step.name)}</h2><a class="close" href="#-" aria-label="close">×</a>',
        f'<p>{text(step.kind)} · <span class="{step.tone}">{_caption(step)}</span>{why}</p>',
        f"<p>{text(step.doc)}</p>" if step.doc else "",
        *_figures("expected", step.figures),
        *_figures("in a run now", step.new),
        *_streams("reads", [(k.source, k) for k in graph.into(step.name)]),
        *_streams("read by", [(k.target, k) for k in graph.out_of(step.name)]),
        *_columns(step),
        f"<dl><dt>written in</dt><dd>{text(step.place)}</dd><dt>key</dt><dd><code>{text(step.key)}</code></dd></dl>",
    ]
    return f'<article id="{anchor(step.name)}">{"".join(parts)}</article>'


def _figures(title: str, figures: Sequence[Figure]) -> Iterator[str]:
    if not figures:
        return
    rows = (
        f"<tr><th scope=row>{f.what}</th><td class=n>{text(f.value)}</td><td class=quiet>{text(f.basis)}</td></tr>"
        for f in figures
    )
    yield f"<h3>{title}</h3><table>{''.join(rows)}</table>"


def _streams(title: str, links: Sequence[tuple[str, Link]]) -> Iterator[str]:
    if not links:
        return
    yield f"<h3>{title}</h3><ul>"
    for other, link in links:
        said = ", ".join(reads(s.lead, "", s).strip() for s in link.streams)
        yield f"<li>{_link(other)}{f' <span class=quiet>{text(said)}</span>' if said else ''}</li>"
    yield "</ul>"


def _columns(step: Step) -> Iterator[str]:
    for port, columns in step.columns:
        if columns:
            names = "".join(f"<tr><th scope=row>{text(n)}</th><td>{text(t)}</td></tr>" for n, t in columns)
            yield f"<details><summary>.{text(port)}: {len(columns)} columns</summary><table>{names}</table></details>"


# --- style ------------------------------------------------------------------------------------------------------------

_STYLE = """
*{box-sizing:border-box}
body{margin:0;font:14px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}
h1{font-size:20px;margin:0}h2{font:600 17px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:0 32px 4px 0;overflow-wrap:anywhere}
h3{font-size:13px;margin:14px 0 2px}header{padding:16px 20px 0}header p,article p{margin:2px 0 8px}
main{overflow:auto;padding:0 0 8px}main svg{display:block;height:auto}
table{border-collapse:collapse;width:100%;font-size:13px}th{text-align:left;font-weight:400}thead th{font-weight:600}
th,td{padding:2px 10px 2px 0;vertical-align:top}td.n,th.n{text-align:right;white-space:nowrap}
ul{margin:0;padding-left:18px}dl{margin:14px 0 0}dd{margin:0 0 6px}code{font-size:12px;overflow-wrap:anywhere}
details{margin-top:12px}summary{cursor:pointer}.all{padding:0 20px 24px;overflow:auto}.all th{overflow-wrap:anywhere}.all td span{white-space:nowrap}
article{display:none;position:fixed;overflow:auto;padding:16px 20px;z-index:1}
article:target{display:block;outline:none}.close{position:absolute;top:8px;right:14px;font-size:24px;line-height:1;padding:4px 8px;text-decoration:none}
main a.step{cursor:pointer}main a.step:hover rect,main a.step:focus-visible rect{stroke-width:2.6}
@media (max-width:899px){article{left:0;right:0;bottom:0;max-height:55vh;border-top:1px solid}body:has(article:target){padding-bottom:55vh}}
@media (min-width:900px){body{padding-right:380px}.all,article{position:fixed;top:0;right:0;bottom:0;width:380px;overflow:auto;border-left:1px solid;padding:18px 20px}}
"""


def _colors(theme: Theme) -> str:
    words = "".join(f"article .{n},.all .{n}{{color:{t.word}}}" for n, t in theme.tones.items())
    link = theme.tones["extend"].word
    return (
        f"body{{background:{theme.page};color:{theme.text}}}a{{color:{link}}}{words}"
        f".quiet,header p,dt,thead th{{color:{theme.quiet}}}"
        f"article,.all{{background:{theme.page};border-color:{theme.line}}}"
        f":root{{--chosen:{link}}}"
    )


def _chosen(step: Step) -> str:
    """While a step is open: its card, and the lines that end at it."""
    name = anchor(step.name)
    when = f'body:has([id="{name}"]:target) main'
    return (
        f'{when} a[href="#{name}"] rect{{stroke:var(--chosen);stroke-width:3}}'
        f'{when} :is([class~="from-{name}"],[class~="to-{name}"]) .line{{stroke:var(--chosen);stroke-width:2.4}}'
    )
