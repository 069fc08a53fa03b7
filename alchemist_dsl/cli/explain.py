"""`alchemist explain`: the page of a diagnostic code, or the table of all codes."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("code", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="For people, as Markdown, or as data.",
)
def explain(code: str | None, format_: str) -> None:
    """Explain a code of a message (`A103`, or its name `unknown-name`); without one, list all codes by area."""
    if code is None:
        click.echo(_listed(format_), nl=False)
        return
    from alchemist_dsl.diagnostics.page import load, markdown, plain

    page = load(_code(code))
    match format_:
        case "markdown":
            text = markdown(page)
        case "json":
            from alchemist_runtime.schema.codes import CODES

            about = {"code": page.code, **CODES[page.code]._asdict(), "area": page.area, "page": markdown(page)}
            text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        case _:
            text = plain(page)
    click.echo(text, nl=False)


def _code(word: str) -> str:
    """The code that a word stands for: itself in any case, its slug, or `A103 unknown-name` as messages write it."""
    from alchemist_runtime.schema.codes import CODES

    from alchemist_dsl.diagnostics.suggest import near

    by_slug = {c.slug: code for code, c in CODES.items()}
    name = word.strip("[]`: ").partition(" ")[0]
    if name.upper() in CODES:
        return name.upper()
    slug = name.lower().replace("_", "-")
    if slug in by_slug:
        return by_slug[slug]
    found = near(slug, by_slug) or near(name.upper(), CODES) or _holding(slug)
    hint = f"; did you mean {' or '.join(f'`{f}`' for f in found)}?" if found else ""
    raise click.UsageError(f"there is no code `{word}`{hint}")


def _holding(word: str) -> tuple[str, ...]:
    from alchemist_runtime.schema.codes import CODES

    return tuple(c.slug for c in CODES.values() if len(word) > 2 and word in c.slug)[:3]


def _listed(format_: str) -> str:
    from alchemist_runtime.schema.codes import AREAS, CODES

    if format_ == "json":
        rows = [{"code": code, **c._asdict(), "area": AREAS[code[:2]]} for code, c in CODES.items()]
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    if format_ == "markdown":
        from alchemist_dsl.diagnostics.page import table

        return table()
    width = max(len(c.slug) for c in CODES.values())
    lines: list[str] = []
    for area, title in AREAS.items():
        lines += [f"\n{area} {title}" if lines else f"{area} {title}"]
        for code, (slug, severity, summary) in CODES.items():
            if code.startswith(area):
                mark = " (warning)" if severity == "warning" else ""
                lines.append(f"  {code} {slug:<{width}}  {summary}{mark}")
    lines.append("\n`alchemist explain CODE` prints the page of one.")
    return "\n".join(lines) + "\n"
