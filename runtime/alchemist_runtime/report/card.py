"""The dataset card: what is in an export, where it comes from, what was done to it, with the YAML that the hub
reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.catalog import offline
from alchemist_runtime.schema.plan import ExportSpec, Node, Plan, SourceSpec, TeacherStepSpec, TrainSpec
from alchemist_runtime.storage.store import closing, trained

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context
    from alchemist_runtime.engine.export_step import Split
    from alchemist_runtime.engine.streams import Stream

_NUMBER = re.compile(r"[\d.,]*%?")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_card(
    ctx: Context,
    node: Node,
    spec: ExportSpec,
    stream: Stream,
    types: Mapping[str, str],
    splits: Mapping[str, Split],
    folder: Path,
) -> None:
    """Write README.md beside the data."""
    upstream = _upstream(ctx, node)
    parts = [
        _front(ctx, spec, stream, types, splits),
        f"# {escaped(_title(ctx, spec))}\n",
        _summary(ctx, node, splits),
        _origins(ctx, stream, upstream),
        _mixture(ctx, upstream),
        _steps(ctx, upstream),
        _teachers(ctx, upstream),
        _columns(spec),
    ]
    (folder / "README.md").write_text("\n".join(p for p in parts if p), encoding="utf-8")


def model_card(plan: Plan, node: Node, figures: Mapping[str, Any]) -> str:
    """The card of a trained model: what it started from, what became of the rows, and how it was trained."""
    import yaml

    spec = node.spec
    assert isinstance(spec, TrainSpec)
    base = None if any(e.role == "model" for e in node.inputs) else spec.base
    hub = base is not None and not base.startswith((".", "/"))
    front = {
        **({"license": _line(plan.license).lower()} if plan.license else {}),
        **({"base_model": base} if hub else {}),
        "library_name": "transformers",
        "tags": ["alchemist"],
    }
    prepared = figures["prepared"]
    facts = [
        ("starts from", escaped(spec.base or "new weights")),
        ("method", spec.method.name),
        ("batch", f"{spec.batch['value']:,} {spec.batch['unit']}"),
        ("packing", spec.packing),
        ("max_length", f"{spec.max_length:,} tokens"),
        ("on_long", spec.on_long),
        ("steps", f"{figures['steps']:,}"),
        ("tokens", f"{figures['tokens']:,}"),
        ("loss", f"{figures['first_loss']:.3f} to {figures['last_loss']:.3f}"),
    ]
    left = [(f"left out: {why}", f"{sum(n.values()):,}") for why, n in prepared["left_out"].items()]
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n",
            f"# {escaped(plan.title or node.id)}\n",
            f"{trained(prepared)}.\n",
            table(("", ""), facts + left),
        ]
    )


def _title(ctx: Context, spec: ExportSpec) -> str:
    path = ctx.plan.recipe.get("path")
    return _line(spec.title or ctx.plan.title or "") or Path(path or "dataset").stem


def _front(
    ctx: Context, spec: ExportSpec, stream: Stream, types: Mapping[str, str], splits: Mapping[str, Split]
) -> str:
    """The YAML that the hub and `load_dataset` read. The features are declared, so that nothing is guessed from the
    values (dates stay text). A split without a row is not among the files, since `load_dataset` refuses one."""
    import yaml

    from alchemist_runtime.engine.views import features

    total = sum(s.rows for s in splits.values())
    files = [{"split": name, "path": split.files} for name, split in splits.items() if split.rows]
    licence = spec.license or ctx.plan.license
    front = {
        "license": _line(licence).lower() if licence else "unknown",
        "pretty_name": _title(ctx, spec),
        "size_categories": [next((name for bound, name in _SIZES if total < bound), "n>10M")],
        "task_categories": ["text-generation"],
        "tags": ["alchemist"],
        **({"configs": [{"config_name": "default", "data_files": files}]} if files else {}),
        "dataset_info": {"features": features(types, spec.format, stream)},
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=2**31)
    return f"---\n{text}---\n"


#: What Markdown or HTML would take for more than text.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#~!&$])")
#: Controls that reorder the text around them, or hide some of it.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


def escaped(text: str) -> str:
    """A text of a recipe as Markdown that shows it and does nothing else."""
    return _MARKUP.sub(r"\\\1", _line(text))


def _line(text: str) -> str:
    return " ".join(_CONTROLS.sub(" ", text).split())


def _summary(ctx: Context, node: Node, splits: Mapping[str, Split]) -> str:
    digest = ", ".join(f"{s.rows:,} rows in `{name}`" for name, s in splits.items())
    recipe = Path(ctx.plan.recipe.get("path") or "recipe").name.replace("`", "'")
    variant = f", variant `{ctx.plan.variant}`" if ctx.plan.variant else ""
    doc = (
        f"Made by alchemist from `{recipe}`{variant}: {digest}. Every row carries its identity: `_id`, `_parent` (the"
        " row that it\nwas made from), `_root` (the row of a source that it goes back to), `origin` (the source) and"
        " `made_by` (the step).\n"
    )
    return doc + f"\nWhat it is made of has the key `{node.key}`.\n"


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table; numbers to the right."""
    right = [bool(rows) and all(_NUMBER.fullmatch(str(r[i])) for r in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("---:" if r else "---" for r in right) + "|"]
    for row in rows:
        cells = (f"{c:,}" if isinstance(c, int) else str(c).replace("|", "\\|").replace("\n", " ") for c in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _upstream(ctx: Context, node: Node) -> list[Node]:
    """The steps that the export is made by, in the plan's order."""
    wanted: set[str] = {node.id}
    for other in reversed(ctx.plan.nodes):
        if other.id in wanted:
            wanted |= {e.node for e in other.inputs}
    return [n for n in ctx.plan.nodes if n.id in wanted and n.id != node.id]


def _origins(ctx: Context, stream: Stream, upstream: list[Node]) -> str:
    from alchemist_runtime.engine.views import per_origin

    counts = per_origin(stream)
    total = sum(counts.values()) or 1
    specs = {n.spec.name: n.spec for n in upstream if isinstance(n.spec, SourceSpec)}
    rows = [
        (
            name,
            n,
            f"{100 * n / total:.1f}%",
            escaped((specs[name].license if name in specs else None) or "not declared"),
        )
        for name, n in counts.items()
    ]
    missing = [(s.name, s.missing) for s in specs.values() if s.missing]
    text = "## Sources\n\n" + table(("origin", "rows", "share", "licence of the source"), rows)
    if missing:
        text += "\nDeclared in the recipe but not available, so not in this dataset:\n\n"
        text += "".join(f"- `{name}`: {escaped(why)}\n" for name, why in missing)
    return text


def _mixture(ctx: Context, upstream: list[Node]) -> str:
    out = []
    for node in upstream:
        result = ctx.made(node) if node.kind == "mixture" else None
        if result is None:
            continue
        figures = result.figures
        rows = [
            (
                e["name"],
                e.get("asked", ""),
                e["rows"],
                f"{100 * e['rows'] / max(1, figures['rows']):.1f}%",
                f"{e.get('epochs', 1):.2f}",
            )
            for e in figures.get("entries", [])
        ]
        out.append(
            f"## Mixture `{node.id}`\n\n"
            + table(("entry", "asked for", "rows", "share", "epochs"), rows)
            + _covered(figures)
        )
    return "\n".join(out)


def _covered(figures: Mapping[str, Any]) -> str:
    """How much of the mixture the entries stand for that are there."""
    share = Fraction(figures.get("covered", 1))
    if share == 1:
        return ""
    return (
        f"\nThe entries that are there stand for {100 * float(share):.3g}% of the recipe; they have grown in proportion"
        " to make up for the others.\n"
    )


def _steps(ctx: Context, upstream: list[Node]) -> str:
    rows: list[tuple[Any, ...]] = []
    for node in upstream:
        manifest = ctx.made(node)
        if manifest is None:  # another step holds what came of it
            rows.append((f"`{node.id}`", node.kind, "", "", "its result is no longer in the store"))
            continue
        count = manifest.data["ports"].get("rows", {}).get("rows", 0)
        dropped = closing(manifest.figures)
        rows.append((f"`{node.id}`", node.kind, manifest.figures.get("rows_in", ""), count, dropped))
    return "## Steps\n\n" + table(("step", "kind", "rows in", "rows out", "left out, added"), rows)


def _teachers(ctx: Context, upstream: list[Node]) -> str:
    rows = list(_teacher_rows(ctx, upstream))
    return "## Teachers\n\n" + table(("step", "teacher", "answers"), rows) if rows else ""


def _teacher_rows(ctx: Context, upstream: list[Node]) -> Iterator[tuple[Any, ...]]:
    for node in upstream:
        if isinstance(node.spec, TeacherStepSpec):
            teacher = ctx.plan.teachers[node.spec.teacher]
            name = teacher.model or (f"{teacher.provider}, no model" if offline(teacher.provider) else teacher.name)
            result = ctx.made(node)
            trace = {} if result is None else result.data["ports"].get("trace", {})
            yield f"`{node.id}`", escaped(name), "" if result is None else trace.get("rows", 0)


def _columns(spec: ExportSpec) -> str:
    if spec.lineage != "sidecar":
        return ""
    return "## Lineage\n\nThe identity columns lie beside the data in `lineage/`, in the same order, joined by `_id`.\n"
