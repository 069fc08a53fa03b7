"""jinja2 templates over the rows of a batch: compiled once, values enter as data and are never read as templates.

A sandbox (`template_sandbox`) in which a template sees the columns of its row and nothing else: no clock, no
chance, no files. An unknown name is an error; a null value prints nothing. As in chat templates, the line of a block
tag leaves no blank line (`trim_blocks`, `lstrip_blocks`), and one newline at the end of the template is not part of the
text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.errors import Problem, RunError

if TYPE_CHECKING:
    from jinja2 import Template

    from alchemist_runtime.schema.template_sandbox import Sandbox

#: Filters and globals of jinja2 that give different text at every call, or reach beyond the row.
_WITHOUT_FILTERS = ("random",)
_WITHOUT_GLOBALS = ("lipsum",)


@cache
def environment() -> Sandbox:
    """The one environment of all templates."""
    from jinja2 import StrictUndefined

    from alchemist_runtime.schema.template_sandbox import Sandbox, bounded

    env = Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
        cache_size=0,
    )
    for name in _WITHOUT_FILTERS:
        env.filters.pop(name, None)
    for name in _WITHOUT_GLOBALS:
        env.globals.pop(name, None)
    env.filters["tojson"] = bounded("tojson", _to_json)
    return env


def _printed(value: Any) -> Any:
    return "" if value is None else value


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is, not escaped for HTML."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


@cache
def compiled(text: str) -> Template:
    """A template ready to render. RunError A401 if it does not parse."""
    from jinja2 import TemplateSyntaxError

    try:
        template = environment().from_string(text)
        template.globals = dict(template.globals)  # a chain of maps is slow to copy for each row
        return template
    except TemplateSyntaxError as e:
        said = f"{e.message} (line {e.lineno})"
    except (RecursionError, SyntaxError):
        said = "it is nested too deeply"
    problem = Problem("A401", f"a template does not parse: {said}")
    raise RunError(problem, exit_code=1)


def render(
    text: str,
    columns: Mapping[str, Sequence[Any]],
    n: int,
    *,
    node: str | None = None,
    place: Callable[[int], str] | None = None,
) -> list[str]:
    """The template over n rows, given column by column. RunError that names the row (by `place`) where it cannot be
    rendered.
    """
    template = compiled(text)
    names = list(columns)
    out: list[str] = []
    try:
        if not names:
            return [template.render()] * n if n else []
        for values in zip(*columns.values(), strict=True):
            out.append(template.render(dict(zip(names, values, strict=True))))
    except Exception as e:
        raise _problem(e, len(out), node, place) from e
    return out


def _problem(error: Exception, row: int, node: str | None, place: Callable[[int], str] | None) -> RunError:
    from jinja2 import UndefinedError
    from jinja2.exceptions import SecurityError

    where = place(row) if place else f"row {row}"
    if isinstance(error, UndefinedError):
        code, headline = ("A402", f"a template reads what is not there: {error}")
    elif isinstance(error, SecurityError):
        code, headline = "A409", f"a template may not do that: {error}"
    else:
        code, headline = "A409", f"a template cannot be rendered: {type(error).__name__}: {error}"
    return RunError(Problem(code, headline, node=node, place=where), exit_code=1)
