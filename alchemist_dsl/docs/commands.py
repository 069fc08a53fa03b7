"""The command line -> docs/reference/cli.md, from the commands themselves."""

from __future__ import annotations

import click

from alchemist_dsl.docs.reference import HEAD

_EXIT_CODES = """| code | meaning |
|---|---|
| 0 | done |
| 1 | the recipe is wrong, or a check said no |
| 2 | the command was written wrong |
| 3 | could not be carried out or judged; run it again when the way is clear (network, key, disk, budget) |
| 4 | a mistake of ours |
| 130 | interrupted |"""


def cli_page() -> str:
    """docs/reference/cli.md"""
    from alchemist_dsl.cli.main import COMMANDS, group

    context = click.Context(group, info_name="alchemist")
    out = [
        "# Command line",
        "`-` is standard input. No colour off a terminal or with `NO_COLOR`.",
        "\n".join(
            ["| command | |", "|---|---|"]
            + [f"| [`{name}`](#alchemist-{name}) | {line} |" for name, (_, line) in COMMANDS.items()]
        ),
        f"Exit codes:\n\n{_EXIT_CODES}",
    ]
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        out += _command(name, command, context)
    return HEAD + "\n\n".join(out) + "\n"


def _command(name: str, command: click.Command, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent)
    out = [f"## alchemist {name}", f"`{_usage(command, context)}`"]
    out += [_paragraphs(command.help or "")]
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    rows = [_option(p, context) for p in options if not p.hidden and "--help" not in p.opts]
    if rows:
        out.append("\n".join(["| option | |", "|---|---|", *rows]))
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            inner = command.get_command(context, sub)
            if inner is not None:
                out += _command(f"{name} {sub}", inner, parent)
    return out


def _usage(command: click.Command, context: click.Context) -> str:
    pieces = [f"alchemist {context.info_name}", *command.collect_usage_pieces(context)]
    return " ".join(pieces)


def _paragraphs(text: str) -> str:
    """The help as paragraphs: click marks those that keep their line breaks by `\\b`."""
    return "\n\n".join(
        f"```text\n{part.removeprefix(chr(8)).strip(chr(10))}\n```" if part.startswith("\b") else " ".join(part.split())
        for part in text.replace("\f", "").split("\n\n")
    )


def _option(option: click.Parameter, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    written, text = (part.replace("|", "\\|") for part in record)
    return f"| `{written}` | {text} |"
