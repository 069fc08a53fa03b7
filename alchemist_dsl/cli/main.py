"""The command `alchemist`: a group whose commands are imported when they are called, so that `--help` is instant."""

from __future__ import annotations

import io
import os
import sys
from typing import Final, NoReturn

import click

#: command -> ("module:attribute", what it does in a line)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "new": ("alchemist_dsl.cli.new:new", "Start a project: a recipe that runs offline, sample rows, files for git."),
    "check": ("alchemist_dsl.cli.check:check", "Check recipes: every mistake, with its place and a way out."),
    "fmt": ("alchemist_dsl.cli.fmt:fmt", "Format recipes; comments, order and keys stay."),
    "compile": ("alchemist_dsl.cli.compile:compile_", "Print the plan of a recipe: steps, rows, calls, money."),
    "lsp": ("alchemist_dsl.cli.check:lsp", "Serve an editor: the language server."),
    "run": ("alchemist_dsl.cli.run:run", "Run a recipe: build what is missing, train, check."),
    "test": ("alchemist_dsl.cli.test:test", "Run the tests of a recipe, offline, with a mock teacher."),
    "show": ("alchemist_dsl.cli.show:show", "Show a plan or one of its steps in full."),
    "graph": ("alchemist_dsl.cli.graph:graph", "Draw a recipe or a plan: text, Mermaid, SVG, a page."),
    "diff": (
        "alchemist_dsl.cli.diff:diff",
        "Compare two versions by meaning: rows, calls, dollars, what trains again.",
    ),
    "why": ("alchemist_dsl.cli.why:why", "Explain what a step is made of, and why it would run again."),
    "cost": (
        "alchemist_dsl.cli.cost:cost",
        "Show what a recipe's teachers cost: paid, by the next run, from scratch, as measured.",
    ),
    "batches": ("alchemist_dsl.cli.cache:batches", "List the batches in flight at a teacher's server; cancel them."),
    "verify": ("alchemist_dsl.cli.verify:verify", "Verify the checksums of everything that a project stores."),
    "cache": (
        "alchemist_dsl.cli.cache:cache",
        "Manage the answers that were paid for: list, export, import, remove unused ones.",
    ),
    "textconv": ("alchemist_dsl.cli.fmt:textconv", "Print a recipe for `git diff`: layout vanishes, comments stay."),
    "merge-lock": ("alchemist_dsl.cli.lock:merge_lock", "Merge three versions of recipe.lock fact by fact, for git."),
    "lock": ("alchemist_dsl.cli.lock:lock", "Pin what recipes depend on in recipe.lock; report what differs from it."),
    "migrate": (
        "alchemist_dsl.cli.migrate:migrate",
        "Convert a configuration of axolotl, LLaMA-Factory, TRL or open-instruct.",
    ),
    "export": (
        "alchemist_dsl.cli.export:export",
        "Write a train block for another tool: an axolotl YAML, a TRL script.",
    ),
    "review": ("alchemist_dsl.cli.review:review", "Comment on a pull request on GitHub with what its recipes change."),
    "explain": ("alchemist_dsl.cli.docs:explain", "Explain an error code, with a wrong and a right recipe."),
    "docs": ("alchemist_dsl.cli.docs:docs", "Print the reference of a kind, an attribute or a function."),
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
            from alchemist_dsl.diagnostics.model import near

            found = near(name, COMMANDS)
            hint = f"; did you mean {' or '.join(f'`{c}`' for c in found)}?" if found else ""
            ctx.fail(f"there is no command `{name}`{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(None, "-V", "--version", package_name="alchemist-dsl", prog_name="alchemist")
def group() -> None:
    """alchemist: fine-tuning data recipes, from sources to a trained model.

    Start with `alchemist check X.recipe`, then `alchemist run X.recipe --upto STEP`.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """The command line. Exit codes: 0 ok, 1 the recipe is wrong, 2 usage, 3 could not be carried out, 4 our bug, 130
    interrupted.
    """
    _escape_what_the_terminal_lacks()
    try:
        code = group.main(args, prog_name="alchemist", standalone_mode=False)
        if not sys.stdout.closed:  # an editor that says good-bye to `lsp` closes it
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):  # click turns Ctrl-C into the former
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:  # `alchemist … | head`: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:
        code = _failed(error)
    sys.exit(code if isinstance(code, int) else 0)


def _failed(error: Exception) -> int:
    """What no command expected. A problem with a way out is one wherever it shows; everything else is our bug."""
    from alchemist_runtime.schema.codes import RunError

    from alchemist_dsl.cli.output import format_problem

    if isinstance(error, RunError):
        click.echo(format_problem(error.problem), err=True)
        return error.exit_code
    _bug(error)
    return 4


def _escape_what_the_terminal_lacks() -> None:
    """Where the output's encoding lacks a character, print it as JSON and recipes write it: `\\u4e2d`; lines of tables
    as `-`.
    """
    import codecs

    def escaped(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        text = error.object[error.start : error.end]
        units = text.encode("utf-16-be", "surrogatepass").hex()
        codes = [int(units[i : i + 4], 16) for i in range(0, len(units), 4)]
        return "".join("-" if 0x2500 <= c < 0x2580 else f"\\u{c:04x}" for c in codes), error.end

    codecs.register_error("alchemist", escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="alchemist")


def _bug(error: Exception) -> None:
    """Our own mistake: one calm line, and where the details are."""
    import traceback

    if os.environ.get("ALCHEMIST_DEBUG"):
        traceback.print_exception(error)
        return
    log = _write_log(_without_secrets("".join(traceback.format_exception(error))))
    where = f"the details are in {log}" if log else "`ALCHEMIST_DEBUG=1` shows the details"
    click.echo(
        f"error: alchemist failed unexpectedly ({type(error).__name__}); this is our bug, nothing that was finished is"
        f" lost\n{where}; please send them to us",
        err=True,
    )


def _without_secrets(text: str) -> str:
    """A text without the values of variables that by their names hold keys."""
    for name, value in os.environ.items():
        if len(value) >= 8 and any(w in name.upper() for w in ("KEY", "TOKEN", "SECRET", "PASS")):
            text = text.replace(value, "***")
    return text


def _write_log(text: str) -> str | None:
    """A new file with a text, in the project's `.alchemist` or the temporary folder; None where neither can be
    written.
    """
    import tempfile

    folder = ".alchemist" if os.path.isdir(".alchemist") else None  # noqa: PTH112 (pathlib costs start-up time)
    for place in dict.fromkeys((folder, None)):
        try:
            with tempfile.NamedTemporaryFile(
                "w", prefix="failure-", suffix=".log", dir=place, delete=False, encoding="utf-8"
            ) as file:
                file.write(text)
            return file.name
        except OSError:
            continue
    return None
