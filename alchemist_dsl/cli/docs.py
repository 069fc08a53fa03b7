"""`alchemist docs`: the reference of a kind, an attribute or a function, from the tables that the checker reads."""

from __future__ import annotations

from collections.abc import Iterator

import click


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="For people; a kind also as Markdown, or as the JSON Schema of its blocks.",
)
def docs(name: str | None, format_: str) -> None:
    """Print the reference of a kind (`filter`), an attribute (`filter.select`, `select`) or a function (`chars`);
    without a name, the list.
    """
    click.echo(_asked(name, format_), nl=False)


def _asked(name: str | None, format_: str) -> str:
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
    parts = list(_found(name.removesuffix("()").lower()))
    if not parts:
        raise click.UsageError(_unknown(name))
    return "\n".join(parts)


def _found(name: str) -> Iterator[str]:
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

    from alchemist_dsl.diagnostics.suggest import near

    kind, dot, attribute = name.partition(".")
    if dot and kind in KINDS:
        found = [f"{kind}.{a}" for a in near(attribute, KINDS[kind].attributes)]
    else:
        attributes = dict.fromkeys(a for k in KINDS.values() for a in k.attributes)
        found = list(near(name, [*KINDS, *FUNCTIONS, *AGGREGATES, *attributes]))
    hint = f"; did you mean {' or '.join(f'`{f}`' for f in found)}?" if found else ""
    return f"there is no kind, attribute or function `{name}`{hint}"
