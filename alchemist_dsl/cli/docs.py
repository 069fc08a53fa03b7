"""`alchemist docs`: the reference of a kind, an attribute or a function, from the tables that the checker reads."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from alchemist_dsl.cli.options import format_option


@click.command()
@click.argument("name", required=False)
@format_option("markdown", "json", help="For people; a kind also as Markdown, or as the JSON Schema of its blocks.")
def docs(name: str | None, format_: str) -> None:
    """Print the reference of a kind (`filter`), an attribute (`filter.select`, `select`) or a function (`chars`);
    without a name, the list.
    """
    click.echo(_reference(name, format_), nl=False)


def _reference(name: str | None, format_: str) -> str:
    from alchemist_runtime.schema.kinds import KINDS

    from alchemist_dsl.docs import reference

    if format_ != "text":
        if name not in KINDS:
            raise click.UsageError(f"`--format {format_}` prints a kind, for example `filter`")
        if format_ == "markdown":
            return reference.kind_markdown(name)
        from alchemist_dsl.docs.schemas import as_text, kind_schema

        return as_text(kind_schema(name))
    if name is None:
        return reference.contents()
    parts = list(_entries(name.removesuffix("()").lower()))
    if not parts:
        raise click.UsageError(_unknown(name))
    return "\n".join(parts)


def _entries(name: str) -> Iterator[str]:
    """The entries of a name: a kind, a function, an attribute of all kinds that have it, or KIND.ATTRIBUTE."""
    from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
    from alchemist_runtime.schema.kinds import KINDS

    from alchemist_dsl.docs import reference
    from alchemist_dsl.docs.words import kinds_with

    kind, dot, attribute = name.partition(".")
    if dot:
        if kind in KINDS and attribute in KINDS[kind].attributes:
            yield reference.attribute_plain(attribute, [kind])
        return
    if name in KINDS:
        yield reference.kind_plain(name)
    if name in FUNCTIONS or name in AGGREGATES:
        yield reference.function_plain(name)
    if kinds := kinds_with(name):
        yield reference.attribute_plain(name, kinds)


def _unknown(name: str) -> str:
    from alchemist_runtime.schema.functions import AGGREGATES, FUNCTIONS
    from alchemist_runtime.schema.kinds import KINDS

    from alchemist_dsl.diagnostics.model import near

    kind, dot, attribute = name.partition(".")
    if dot and kind in KINDS:
        found = [f"{kind}.{a}" for a in near(attribute, KINDS[kind].attributes)]
    else:
        attributes = dict.fromkeys(a for k in KINDS.values() for a in k.attributes)
        found = list(near(name, [*KINDS, *FUNCTIONS, *AGGREGATES, *attributes]))
    hint = f"; did you mean {' or '.join(f'`{f}`' for f in found)}?" if found else ""
    return f"there is no kind, attribute or function `{name}`{hint}"


# --- explain ---------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("code", required=False)
@format_option("markdown", "json", help="For people, as Markdown, or as data.")
def explain(code: str | None, format_: str) -> None:
    """Explain a code of a message (`A103`, or its name `unknown-name`); without one, list all codes by area."""
    if code is None:
        click.echo(_list_codes(format_), nl=False)
        return
    from alchemist_dsl.diagnostics.page import load, markdown, terminal_text

    page = load(_code(code))
    match format_:
        case "markdown":
            text = markdown(page)
        case "json":
            from alchemist_runtime.schema.codes import CODES

            about = {"code": page.code, **CODES[page.code]._asdict(), "area": page.area, "page": markdown(page)}
            text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        case _:
            text = terminal_text(page)
    click.echo(text, nl=False)


def _code(word: str) -> str:
    """The code that a word stands for: itself in any case, its slug, or `A103 unknown-name` as messages write it."""
    from alchemist_runtime.schema.codes import CODES

    from alchemist_dsl.diagnostics.model import near

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


def _list_codes(format_: str) -> str:
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
