"""The command `alchemist`: a group whose commands are imported when they are called, so that `--help` is instant."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

#: command -> ("module:attribute", what it does in a line)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "check": (
        "alchemist_dsl.cli.check:check",
        "Check recipes: every mistake, with its place and a way out.",
    ),
    "compile": (
        "alchemist_dsl.cli.compile:compile_",
        "Print the plan of a recipe: steps, rows, calls, money.",
    ),
    "run": (
        "alchemist_dsl.cli.run:run",
        "Carry a recipe out: build what is missing, train, check.",
    ),
    "show": ("alchemist_dsl.cli.show:show", "Show a plan or one of its steps in full."),
    "why": ("alchemist_dsl.cli.why:why", "Say what a step is made of, and why it would run again."),
}


class Lazy(click.Group):
    """Imports a command when it is named; suggests near names for one that is not there."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        import importlib

        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            ctx.fail(f"there is no command `{name}`{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(None, "-V", "--version", package_name="alchemist-dsl", prog_name="alchemist")
def group() -> None:
    """alchemist: fine-tuning data recipes, from sources to a trained model.

    Start with `alchemist check X.recipe`, then `alchemist run X.recipe --upto STEP`.
    """


def main(args: list[str] | None = None) -> Any:
    """The command line. Exit codes: 0 ok, 1 the recipe is wrong, 2 usage, 3 could not be carried out, 4 our bug, 130 interrupted."""
    try:
        return group.main(args, prog_name="alchemist", standalone_mode=True)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        _bug(error)
        sys.exit(4)


def _bug(error: Exception) -> None:
    """Our own mistake: one calm line, and where the details are."""
    import os
    import tempfile
    import traceback

    if os.environ.get("ALCHEMIST_DEBUG"):
        traceback.print_exception(error)
        return
    with tempfile.NamedTemporaryFile("w", prefix="alchemist-", suffix=".log", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    click.echo(
        f"error: alchemist failed unexpectedly ({type(error).__name__}); this is our bug, nothing finished is lost\n"
        f"the details are in {file.name}; please send them to us",
        err=True,
    )
