"""`alchemist run`: carries a recipe or a plan out, skipping what exists, and says at the end what came of it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options
from alchemist_dsl.cli.output import compiled_or_exit, exit_code, format_problem, plan_or_exit, show_problem

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context
    from alchemist_runtime.engine.local import Result
    from alchemist_runtime.schema.codes import Problem, RunError

    from alchemist_dsl.project.workspace import Compiled


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--budget", metavar="$N", help="The most that this run may spend, for example $20.")
@click.option(
    "--allow-host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="A server that may get the key which the recipe names for it.",
)
@click.option("--replay", type=click.Path(path_type=Path), help="Answers from this file only: no network.")
@click.option("--processes", type=click.IntRange(1), help="Processes of a training, instead of the recipe's.")
@click.option("--keep-going", is_flag=True, help="After a step that fails, build what does not need it.")
@click.option(
    "--retry", type=click.Choice(["refused"]), help="Ask again also where a server or a check of the answer refused."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@format_option(help="Form of the summary.")
@recipe_options("upto", "limit", "locked")
def run(
    recipe: Path,
    budget: str | None,
    hosts: tuple[str, ...],
    replay: Path | None,
    processes: int | None,
    keep_going: bool,
    retry: str | None,
    dry_run: bool,
    format_: str,
    options: RecipeOptions,
) -> None:
    """Carry out RECIPE (or a plan file): build what is missing, train, check."""
    from alchemist_dsl.cli.compile import plan_text, remember
    from alchemist_dsl.project.folder import is_plan

    most = _money(budget)
    if is_plan(recipe):
        compiled = _planned(recipe, options.of_recipe)
    else:
        compiled = compiled_or_exit(recipe, pin=True, **options.arguments())
    code = exit_code(compiled)
    if compiled.plan is None or code:
        sys.exit(code or 1)
    if dry_run:
        click.echo(plan_text(compiled))
        return
    if options.limit is None and not options.locked:
        remember(compiled)
    how = {
        "budget": None if most is None else str(most),
        "replay": replay,
        "processes": processes,
        "limited": options.limit is not None,
        "from_file": is_plan(recipe),
        "keep_going": keep_going,
        "retry_refused": retry == "refused",
    }
    with _terminated_as_interrupted():
        sys.exit(_run(compiled, how, options.upto, hosts, format_=format_, locked=options.locked))


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """While a plan is carried out, SIGTERM is what Ctrl-C is: a scheduler that ends a job loses nothing that is
    finished. Also where SIGINT is ignored, as in what a shell script starts with `&`."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _planned(path: Path, options: object) -> Compiled:
    """A plan file as what a recipe compiles to. What a plan holds can no longer be changed by options."""
    from alchemist_dsl.project.workspace import Compiled, project_of

    if options:
        raise click.UsageError(
            "--set, --params, --variant, --limit and --locked belong to a recipe; a plan holds their result"
        )
    return Compiled(plan_or_exit(path), None, (), project_of(path))


def _money(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return Fraction(text.removeprefix("$").replace("_", ""))
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(
            f"`{text}` is no amount of money; write for example `$20`", param_hint="--budget"
        ) from None


def _run(compiled: Compiled, options: dict[str, Any], upto: Sequence[str], hosts: Sequence[str], **how: Any) -> int:
    from alchemist_runtime.engine.context import Options
    from alchemist_runtime.schema import codes

    from alchemist_dsl.project.running import prepare

    ask = partial(click.confirm, err=True) if sys.stdin.isatty() and sys.stderr.isatty() else None
    try:
        ctx = prepare(compiled, Options(**options), upto=upto, hosts=hosts, ask=ask)
    except codes.RunError as error:
        show_problem(compiled, error.problem)
        return error.exit_code
    return _carry_out(compiled, ctx, list(upto) or None, **how)


def _carry_out(compiled: Compiled, ctx: Context, targets: list[str] | None, *, format_: str, locked: bool) -> int:
    from alchemist_runtime.engine import local
    from alchemist_runtime.schema import codes

    from alchemist_dsl.cli.progress import Both, Lines, Live
    from alchemist_dsl.project.running import record

    begun = time.perf_counter()
    result = local.Result(local.run_name())
    with ExitStack() as stack:
        log = _LazyLog(ctx.state, result.run, stack)
        try:
            busy = local.unfinished(ctx, targets)
            terminal = sys.stderr.isatty() and bool(busy)
            person: Any = stack.enter_context(Live(len(busy))) if terminal else Lines(sys.stderr)
            ctx.progress = Both(person, Lines(log))
            local.run(ctx, targets, ingredients=compiled.ingredients, result=result)
        except KeyboardInterrupt:
            stack.close()
            click.echo("interrupted: finished steps are kept; re-run the same command to continue", err=True)
            for problem in getattr(getattr(ctx.progress, "first", None), "warnings", ()):
                show_problem(compiled, problem)
            _go_on(compiled, result, log)
            return codes.INTERRUPTED
        except (codes.RunError, OSError) as error:
            stopped = as_run_error(error, "the project's folder")
            log.write(format_problem(stopped.problem) + "\n")
            stack.close()
            show_problem(compiled, stopped.problem)
            _go_on(compiled, result, log)
            return stopped.exit_code
    for problem in getattr(person, "warnings", ()):
        show_problem(compiled, problem)
    try:
        record(compiled, ctx, result, locked=locked)
    except (codes.RunError, OSError) as error:
        show_problem(compiled, as_run_error(error, "`recipe.lock`").problem)
        _finish(compiled, ctx, result, time.perf_counter() - begun, log, format_, wrote=False)
        return codes.NOT_CARRIED_OUT
    wrote = not locked and not ctx.options.limited and not result.failed
    return _finish(compiled, ctx, result, time.perf_counter() - begun, log, format_, wrote=wrote)


def as_run_error(error: RunError | OSError, what: str) -> RunError:
    """A full disk or a folder that may not be written, wherever it showed, as a problem with a way out."""
    from alchemist_runtime.schema.codes import RunError
    from alchemist_runtime.storage.store import disk_problem

    if isinstance(error, RunError):
        return error
    problem = disk_problem(error, what)
    if problem is None:
        raise error
    return RunError(problem)


class _LazyLog:
    """The log of a run, opened when there is something to write: a run with nothing to do leaves none.

    A log that cannot be written stops no run."""

    def __init__(self, state: Path, name: str, stack: ExitStack) -> None:
        self.path: Path | None = None
        self._where = state, name
        self._file: IO[str] | None = None
        stack.callback(self.close)

    def write(self, text: str) -> None:
        from alchemist_dsl.cli.progress import open_log

        with suppress(OSError):
            if self._file is None:
                self._file = open_log(*self._where)
                self.path = Path(self._file.name)
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            if self._file is not None:
                self._file.flush()

    def close(self) -> None:
        with suppress(OSError):
            if self._file is not None:
                self._file.close()


def _finish(
    compiled: Compiled, ctx: Context, result: Result, seconds: float, log: _LazyLog, format_: str, *, wrote: bool
) -> int:
    """Say what came of a run. `wrote`: it took changed facts over into the lock."""
    from alchemist_runtime.schema import codes

    from alchemist_dsl.cli import compile
    from alchemist_dsl.project.running import judged

    ran = judged(ctx, result)
    verdicts, stuck, width = ran.verdicts, ran.not_run, min(140, compile.terminal_width())
    if format_ == "json":
        import json

        click.echo(json.dumps(compile.data(result, verdicts, seconds), indent=2, sort_keys=True))
    else:
        for line in compile.lines(ctx, result, seconds, width):
            click.echo(line)
        for line in compile.checks(verdicts, stuck):
            click.echo(line)
    if result.unrecorded is not None:
        click.echo(f"note: this run is not in runs.jsonl ({result.unrecorded.strerror})", err=True)
    if wrote and format_ == "text":
        for line in compile.drift_lines(compiled, width, after_run=True)[1:]:
            click.echo(line)
    if log.path is not None:
        click.echo(f"log      {compiled.project.relative(log.path)}", err=format_ == "json")
    for error in result.failed.values():
        show_problem(compiled, error.problem)
    if result.failed:
        return max(e.exit_code for e in result.failed.values())
    if stuck:
        show_problem(compiled, _not_built(ctx, [d.node for d in result.done if d.node in stuck]))
        return codes.NOT_CARRIED_OUT
    errors_ = [v for c, v, _ in verdicts if c.severity == "error" and not ctx.options.limited]
    if "fail" in errors_:
        return codes.SAID_NO
    return codes.NOT_CARRIED_OUT if "unknown" in errors_ else codes.OK


def _not_built(ctx: Context, stuck: list[str]) -> Problem:
    from alchemist_runtime.schema.codes import Problem

    first = next((n for n in stuck if not ctx.node(n).runnable), stuck[0])
    others = [f"`{n}`" for n in stuck if n != first]
    waiting = f", so {', '.join(others)} {'are' if len(others) > 1 else 'is'} not built either"
    return Problem(
        "A918",
        f"`{first}` was not built: this version does not run it{waiting if others else ''}",
        node=first,
        help="`--upto STEP` builds what can be built and asks for no more",
    )


def _go_on(compiled: Compiled, result: Result, log: _LazyLog) -> None:
    finished = [d.node for d in result.done if d.action in ("built", "equal")]
    if finished:
        click.echo(f"finished before: {', '.join(finished)}", err=True)
    if log.path is not None:
        click.echo(f"log      {compiled.project.relative(log.path)}", err=True)
