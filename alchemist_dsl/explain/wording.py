"""Reasons, ingredients and expressions in words: what `compile`, `show` and `why` print."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.expressions import expression, is_expression
from alchemist_runtime.schema.plan import Estimate, Node, Reason

from alchemist_dsl.document.text import plural
from alchemist_dsl.estimate.checks import money, rounded
from alchemist_dsl.estimate.training import gigabytes
from alchemist_dsl.explain.staleness import TEMPLATES

_PLAIN: Final[Mapping[str, str]] = {
    "never_built": "never built",
    "output_missing": "its result is gone",
    "output_incomplete": "its result is incomplete",
    "cache_evicted": "its result is no longer stored, and downstream steps need it",
    "forced": "requested",
    "unknown_history": "there is no record of an earlier run",
    "operator_changed": "the implementation of the step changed",
}
_CHANGED: Final[Mapping[str, str]] = {
    "template_changed": "the text of {path} changed",
    "file_changed": "a file changed",
    "source_revision_changed": "the revision changed",
    "seed_changed": "the seed changed from {before} to {after}",
    "operator_changed": "the implementation of {path} changed",
}


def reason(r: Reason) -> str:
    """A reason in a few words."""
    if r.code in _PLAIN and r.path is None:
        return _PLAIN[r.code]
    if r.code == "calls_failed":
        rows = int(r.before or "0")
        return f"retry of {plural(rows, 'row')} whose calls failed"
    if r.code == "input_remade":
        return f"`{r.path}` is rebuilt"
    if r.code == "output_missing":
        return f"`{r.path}` does not hold it"
    if r.code == "input_changed":
        how = "" if r.before is None and r.after is None else f" ({_from_to(r)})"
        return f"`{r.path}` changed{how}"
    if r.code == "file_changed" and r.path and not r.path.startswith("file."):
        how = "is new" if r.before is None else "is gone" if r.after is None else "changed"
        return f"file `{r.path}` {how}"
    if r.code in _CHANGED:
        return _CHANGED[r.code].format(path=path_words(r.path or ""), before=r.before, after=r.after)
    return f"{path_words(r.path or '')} {_from_to(r)}"


def skip_reason(node: Node, stuck: Collection[str]) -> str:
    """Why a run would leave a node alone; `stuck`: the nodes that are not run, and those that need one of them."""
    if not node.runnable:
        return "this version does not run it"
    if node.id not in stuck:
        return "nothing that would run needs it"
    needed = sorted({e.node for e in node.inputs if e.node in stuck})
    return f"needs {', '.join(needed[:2])}{', …' * (len(needed) > 2)}, which is not run"


def _from_to(r: Reason) -> str:
    path = r.path or ""
    if r.before is None:
        return f"is new: {value_words(path, r.after)}"
    if r.after is None:
        return f"is gone: {value_words(path, r.before)}"
    return f"{value_words(path, r.before)} -> {value_words(path, r.after)}"


# --- ingredients ------------------------------------------------------------------------------------------------------

_NAMES: Final[Mapping[str, str]] = {
    "operator_version": "version of the step",
    "select.share": "`select`",
    "select.count": "`select`",
    "select.where": "`select`",
    "select.per": "`select … per`",
    "select.best": "`best`",
    "rules.order": "order of the rules",
    "classes.order": "order of the classes",
    "salt": "salt of its draw and its ids",
    "source_salt": "salt of its ids",
    "run_limit": "`--limit`",
    "teacher.version": "version of the teacher's rules",
    "prompt.input": "inputs of the prompt",
    "prompt.output": "outputs of the prompt",
    "version.answer": "how a plain answer is read",
    "version.python": "version of Python",
}
_PREFIXES: Final[Mapping[str, str]] = {
    "attribute": "`{}`",
    "rule": "rule `{}`",
    "set": "`set {}`",
    "class": "class `{}`",
    "take": "entry `{}`",
    "teacher": "`{}` of the teacher",
    "prompt": "`{}` of the prompt",
    "prompt_input": "input `{}` of the prompt",
    "version.function": "version of `{}()`",
    "version": "version of `{}`",
    "module": "package `{}`",
    "file": "file {}",
}


def path_words(path: str) -> str:
    """An ingredient's name for people."""
    if path in _NAMES:
        return _NAMES[path]
    for prefix, words in _PREFIXES.items():
        if path.startswith(prefix + "."):
            rest = path.removeprefix(prefix + ".")
            return words.format(str(int(rest) + 1) if prefix == "file" and rest.isdigit() else rest)
    return f"`{path}`"


def value_words(path: str, value: Any) -> str:
    """An ingredient's value for people: percents as such, expressions as they would be written, digests short."""
    found = _parsed(value)
    name = path.removeprefix("attribute.")
    if name == "select.share" or name.endswith(".share"):
        return percent(str(found))
    if path.startswith("rule.") and isinstance(found, list) and len(found) == 2:
        return f"{found[0]} {expression(found[1])}"
    if path in TEMPLATES:
        return f"text {short(str(found))}"
    if path.startswith("take.") and isinstance(found, list):
        return amount(*found[:2])
    if is_expression(found):
        return expression(found)
    if isinstance(found, list) and all(is_expression(f) for f in found):
        return ", ".join(expression(f) for f in found)
    if isinstance(found, dict) and "method" in found:
        args = ", ".join(f"{k} = {format_value(v)}" for k, v in found.items() if k != "method")
        return f"{found['method']}({args})"
    return format_value(found)


def _parsed(value: Any) -> Any:
    """A value of the record; texts of reasons hold what was no text as JSON."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def format_value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str() if value.startswith("b2:"):
            return short(value)
        case str():
            return value
        case list():
            return ", ".join(format_value(v) for v in value)
        case {"unit": str(unit), "value": amount_}:
            return percent(str(amount_)) if unit == "percent" else f"{amount_} {unit}"
        case dict():
            return ", ".join(f"{k} {format_value(v)}" for k, v in value.items() if v is not None)
        case _:
            return str(value)


def short(digest: str) -> str:
    """The first digits of a digest."""
    return digest.removeprefix("b2:")[:12]


def percent(text: str) -> str:
    return f"{rounded(Fraction(text) * 100, 4)}%"


def amount(kind: str, value: str | None = None) -> str:
    """The amount of a mixture's entry for people."""
    match kind:
        case "share":
            return percent(value or "0")
        case "multiplier":
            return f"{rounded(Fraction(value or 1), 4)}x"
        case "rows" | "tokens" | "parts":
            found = Fraction(value or 0)
            whole = found.denominator == 1
            return f"{int(found):,} {kind}" if whole else f"{rounded(found, 4)} {kind}"
        case _:
            return kind


# --- figures ----------------------------------------------------------------------------------------------------------


def count(e: Estimate | None) -> str:
    """A figure for a table: exact, about, at most, or unknown."""
    if e is None:
        return ""
    if e.value is None:
        return "?" if e.high is None else f"≤ {_grouped(e.high)}"
    if e.low == e.value == e.high:
        return _grouped(e.value)
    if e.low == "0" and e.value == e.high:
        return f"≤ {_grouped(e.value)}"
    return f"~{_grouped(e.value)}"


def _grouped(text: str) -> str:
    return f"{int(text):,}"


def figure(name: str, e: Estimate) -> str:
    """A figure by its name in the plan: money, GPU hours, a share, or a count."""
    match name:
        case "usd":
            return dollars(e)
        case "gpu_hours":
            if e.value is None:
                return "?"
            displayed = f"{hours(e.value)} GPU h"
            return displayed if e.low == e.high or displayed.startswith("under") else f"~{displayed}"
        case _ if name.partition(".")[0] == "memory":
            return gigabytes(int(e.value or 0))
        case "covered":
            return percent(e.value or "1")
        case _:
            return count(e)


def hours(text: str) -> str:
    """Hours with the digits that matter: 1,234, 2.5, 0.012, under 0.001."""
    value = Fraction(text)
    if 0 < value < Fraction(1, 1000):
        return "under 0.001"
    if value >= 10:
        return f"{int(rounded(value, 0)):,}"
    return rounded(value, 1) if value >= 1 else rounded(value, 3)


def dollar_amount(value: Any) -> str:
    """Money for people: exact to the cent, more digits where it is less."""
    number = Fraction(str(value or 0))
    if number == 0:
        return "$0"
    return f"${float(number):,.2f}" if number >= Fraction(1, 100) else f"${float(number):.4f}"


def dollars(e: Estimate | None) -> str:
    """Money for a table; an estimate with its range."""
    if e is None:
        return ""
    if e.value is None:
        return "?" if e.high is None else f"≤ ${money(Fraction(e.high))}"
    value = money(Fraction(e.value))
    if e.low == e.high:
        return "$0" if Fraction(e.value) == 0 else f"${value}"
    return f"~${value}"


def dollars_range(e: Estimate) -> str:
    """Money in a sentence."""
    if e.value is None or e.low is None or e.high is None:
        return "unknown"
    if e.low == e.high:
        return dollars(e)
    return f"about ${money(Fraction(e.value))} (${money(Fraction(e.low))} to ${money(Fraction(e.high))})"


def range_words(e: Estimate, *, money_: bool = False) -> str:
    """Between which figures it lies, and on what that rests: `0 to 4,394, declared`."""
    low, high = (None if v is None else _end(v, money_) for v in (e.low, e.high))
    if low == high:
        return _BASIS[e.basis]
    span = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
    return span if e.basis == "unknown" else f"{span}, {_BASIS[e.basis]}"


def _end(value: str, money_: bool) -> str:
    return f"${money(Fraction(value))}" if money_ else _grouped(value)


_BASIS: Final[Mapping[str, str]] = {
    "exact": "exact",
    "last_run": "from the last run",
    "sampled": "from a sample",
    "declared": "declared",
    "unknown": "unknown",
}
