"""What a run says at its end: rows of each step, what was dropped by which rule, calls and money, shares, where
everything lies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from alchemist_dsl.cli.progress import amount, took
from alchemist_dsl.explain.wording import dollar_amount, grid

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context
    from alchemist_runtime.engine.local import Done, Result


def nothing_to_do(result: Result) -> bool:
    return all(d.action == "reused" for d in result.done)


def lines(ctx: Context, result: Result, seconds: float, width: int) -> list[str]:
    """The summary as lines of text, at most `width` columns wide."""
    out: list[str] = []
    if nothing_to_do(result):
        out.append(f"nothing to do: every result is there ({took(seconds)}, 0 teacher calls)")
    else:
        out += steps(ctx, result, width)
        out += calls(result)
    for done in result.done:
        if done.kind == "mixture" and done.action in ("built", "equal"):
            out += ["", *mixture(done, width)]
    out += ["", *places(ctx, result)]
    return out


def steps(ctx: Context, result: Result, width: int) -> list[str]:
    """One line a step: rows in and out, and what each rule dropped."""
    from alchemist_runtime.storage.store import closing

    rows = []
    for done in result.done:
        f = done.figures
        text, out = closing(f), _rows(done)
        if done.kind == "train" and f.get("last_loss") is not None:
            text, out = training(f), f.get("rows")
        elif "calls_new" in f:
            asked = f"{f['calls_new']:,} calls, {f['calls_cached']:,} cached"
            text = f"{text}; {asked}" if text else asked
        elif done.kind == "export":
            text = str(f.get("path") or "")
        rows.append((done.node, done.kind, amount(f.get("rows_in")), amount(out), text, _state(done)))
    return grid(("step", "kind", "rows in", "rows out", "left out, called", ""), rows, width, right={2, 3})


def _rows(done: Done) -> int | None:
    """Rows that leave a step: those of its port, or of the files that it wrote."""
    splits: Mapping[str, int] = done.figures.get("splits", {})
    return sum(splits.values()) if done.rows is None and splits else done.rows


def training(figures: Mapping[str, Any]) -> str:
    """What was trained, left out and cut, and the loss, in words."""
    from alchemist_runtime.storage.store import trained

    world = figures.get("world_size", 1)
    layout = figures.get("prepared", {}).get("layout")
    found = f", replies as {layout} lays them out" if layout else ""
    rows = f"{trained(figures['prepared'])}; " if "prepared" in figures else ""
    steps, packs = figures.get("steps", 0), figures.get("prepared", {}).get("packs")
    part = steps * figures.get("per_step", 0) / packs if packs else 1
    passes = f" ({part:.2g} of a pass)" if part < 1 else ""
    return (
        f"{rows}loss {figures['first_loss']:.3f} to {figures['last_loss']:.3f} in {steps:,} steps{passes}"
        f" on {world} process{'es' if world != 1 else ''}{found}"
    )


def _state(done: Done) -> str:
    return {"built": took(done.seconds), "reused": "as before", "equal": "equal, not rebuilt"}.get(
        done.action, done.action
    )


def calls(result: Result) -> list[str]:
    """Teacher calls and money of the run."""
    asked = [d for d in result.done if "calls_new" in d.figures and d.action == "built"]
    if not asked:
        return ["", "teacher calls: 0"]
    new = sum(d.figures["calls_new"] for d in asked)
    cached = sum(d.figures["calls_cached"] for d in asked)
    money = sum((Fraction(str(d.figures.get("usd") or 0)) for d in asked), Fraction(0))
    failed = sum(d.figures.get("calls_failed", 0) for d in asked)
    text = f"teacher calls: {new:,} new, {cached:,} from the cache; {dollar_amount(money)}"
    passing = sum(d.figures.get("calls_passing", 0) for d in result.done)
    refused = sum(d.figures.get("calls_refused", 0) for d in result.done)
    out = ["", text + (f"; {failed:,} failed" if failed else "")]
    if passing:
        rows = f"{passing:,} rows" if passing > 1 else "one row"
        out.append(f"{rows} failed for a reason that may pass: the next run asks again")
    if refused:
        rows = f"{refused:,} rows were" if refused > 1 else "one row was"
        out.append(f"{rows} refused: `run --retry refused` asks again")
    return out


def mixture(done: Done, width: int) -> list[str]:
    """Realised shares of a mixture, as a table with bars."""
    entries: Sequence[Mapping[str, Any]] = done.figures.get("entries", [])
    total = max(1, done.figures.get("rows", 0) or sum(e["rows"] for e in entries))
    tokens = max(1, sum(e.get("tokens") or 0 for e in entries))
    rows = []
    for e in entries:
        share = e["rows"] / total
        of_tokens = f"{100 * e['tokens'] / tokens:.1f}%" if e.get("tokens") else ""
        rows.append(
            (
                e["name"],
                e.get("asked", ""),
                amount(e["rows"]),
                f"{100 * share:.1f}%",
                of_tokens,
                f"{e.get('epochs', 1):.2f}",
                "█" * round(20 * share),
            )
        )
    head = ("entry", "asked", "rows", "share", "of tokens", "epochs", "")
    out = [f"mixture {done.node}", *grid(head, rows, width, right={2, 3, 4, 5})]
    gone = [e["name"] for e in entries if e.get("missing")]
    if gone:
        out.append(f"covered  {covered(Fraction(done.figures.get('covered', 1)), gone)}")
    return out


def covered(share: Fraction, gone: Sequence[str]) -> str:
    """How much of a mixture is there, and what is declared missing."""
    named = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
    verb = "are" if len(gone) > 1 else "is"
    return f"{100 * float(share):.3g}% of the recipe; {named} {verb} declared missing"


def places(ctx: Context, result: Result) -> list[str]:
    """Where results lie, relative to the project."""
    from alchemist_runtime.engine import local

    out = []
    for done in result.done:
        if done.kind == "export" and done.figures.get("path"):
            out.append(f"dataset  {done.node}: {done.figures['path']}")
        if done.kind == "train" and done.action != "not run":
            folder = local.outputs_of(ctx.plan).as_posix()
            out.append(f"model    {done.node}: .alchemist/outputs/{folder}/{done.node}/model")
    return out


def checks(verdicts: Sequence[tuple[Any, str, str | None]], stuck: Collection[str]) -> list[str]:
    """One line a check: its verdict, its text, the value found, or the step that was not run and leaves it open."""
    if not verdicts:
        return []
    out = [""]
    for check, verdict, value in verdicts:
        found = f"  (it is {value})" if value is not None else ""
        open_ = [name for name in check.reads if name in stuck]
        if open_:
            found = f"  (`{open_[0]}` is not run)"
        out.append(f"check    {verdict:<7} {check.id}: {check.text}{found}")
    return out


def data(result: Result, verdicts: Sequence[tuple[Any, str, str | None]], seconds: float) -> dict[str, Any]:
    """The summary as data, for `--format json`."""
    return {
        "run": result.run,
        "seconds": round(seconds, 3),
        "nodes": [
            {
                "node": d.node,
                "kind": d.kind,
                "action": d.action,
                "key": d.key,
                "rows": d.rows,
                "figures": dict(d.figures),
            }
            for d in result.done
        ],
        "checks": [{"id": c.id, "expr": c.text, "verdict": v, "value": x} for c, v, x in verdicts],
    }
