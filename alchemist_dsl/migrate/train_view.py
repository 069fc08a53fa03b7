"""A checked `train` block and the export that has its rows -> plain values that the writers for other tools read."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl import ir
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.lowering.resources import base_folder
from alchemist_dsl.source import Span

#: Tokens of one forward pass where `micro_batch` is not given, as a run takes them on a GPU.
_FORWARD: Final = 16_384


@dataclass(slots=True)
class Trained:
    """What a `train` block says. `remarks`: attribute -> what the other tool does not say of it."""

    block: ir.Block
    recipe: str  # file name
    base: str
    rows: str  # exported folder of chat messages, as the configuration names it
    gpus: int
    seed: int
    folder: str = ""  # from where the configuration is used to that of the recipe
    remarks: dict[str, str] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)

    def unsaid(self, attribute: str, why: str, help: str | None = None) -> None:
        """A comment in what is written, and a warning at the recipe's line. What nobody wrote is only a comment."""
        self.remarks[attribute] = why
        attr = self.block.attrs.get(attribute)
        written = attr is not None and attr.origin != "default"
        span = attr.name_span if attr is not None and written else self.block.name_span
        headline = f"`{attribute}`: {why}"
        self.problems.append(Diagnostic("A956", headline, span, label="kept as a comment", help=help))

    # --- values -------------------------------------------------------------------------------------------------------

    def number(self, name: str) -> int | float | None:
        value = self.block.get(name)
        return plain(value.value) if isinstance(value, ir.Qty) else None

    def word(self, name: str) -> str | None:
        value = self.block.get(name)
        return value.name if isinstance(value, ir.ChoiceV | ir.MethodV) else None

    def text(self, name: str) -> str | None:
        value = self.block.get(name)
        return value.value if isinstance(value, ir.TextV) else None

    def arguments(self, name: str) -> dict[str, Any]:
        value = self.block.get(name)
        return value.args if isinstance(value, ir.MethodV) else {}

    @property
    def sequences(self) -> int:
        """Sequences of one optimiser step."""
        value = self.block.get("batch")
        assert isinstance(value, ir.Qty)
        whole = value.value / self.max_length if value.kind == "tokens" else value.value
        return max(1, round(whole))

    @property
    def unit(self) -> str:
        """What a sequence is."""
        return "rows" if self.word("packing") == "none" else "packs"

    @property
    def max_length(self) -> int:
        length = self.number("max_length")
        assert length is not None
        return int(length)

    def cut(self) -> tuple[int, int]:
        """Sequences of a forward pass and steps of accumulation, on the devices that were named."""
        each = self.sequences // self.gpus
        if each * self.gpus != self.sequences:
            self.unsaid("batch", f"{self.sequences} {self.unit} cannot be shared out among {self.gpus} devices")
        micro = self.number("micro_batch")
        if micro is None:
            most = max(1, _FORWARD // self.max_length)
            micro = max(m for m in range(1, min(most, max(each, 1)) + 1) if max(each, 1) % m == 0)
        times, rest = divmod(max(each, 1), int(micro))
        if rest or not times:
            self.unsaid("micro_batch", f"{each} {self.unit} of a device are no multiple of {int(micro)}")
        return int(micro), max(1, times)

    def warmup(self) -> tuple[str, int | float] | None:
        """("share", 0.03) or ("steps", 15)."""
        value = self.arguments("schedule").get("warmup") or 0
        unit = value["unit"] if isinstance(value, dict) else "percent"
        number = Fraction(str(value["value"] if isinstance(value, dict) else value))
        match unit:
            case "percent":
                return ("share", float(number)) if number else None
            case "rows":
                self.remarks["schedule"] = (
                    f"{plain(number)} rows are {round(number / self.sequences)} steps of this batch"
                )
                number /= self.sequences
        return ("steps", round(number)) if number else None

    @property
    def floor(self) -> float:
        return float(Fraction(str(self.arguments("schedule").get("floor") or 0)))

    def save(self) -> int | float | None:
        """Steps between checkpoints, or a share of all."""
        value = self.block.get("save_every")
        return plain(value.value) if isinstance(value, ir.Qty) else None

    def held_out(self) -> int | float | None:
        value = self.block.get("eval_share")
        return plain(value.value) if isinstance(value, ir.Qty) and value.value else None

    def reports(self) -> list[str]:
        value = self.block.get("report")
        items = value.items if isinstance(value, ir.ListV) else ()
        return [i.name for i in items if isinstance(i, ir.ChoiceV)]

    def template(self) -> tuple[str, str] | None:
        """("jinja", text), ("file", path) or ("model", name)."""
        match self.block.get("chat_template"):
            case ir.TemplateV(taken=("file", path), span=span):
                own = posixpath.relpath(path, posixpath.dirname(span.file) or ".")
                return "file", posixpath.join(self.folder, own)
            case ir.TemplateV(text=text):
                return "jinja", text
            case ir.TextV(value=name):
                return "model", name
            case _:
                return None


def plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


class NoTraining(ValueError):
    """A `train` block that no other tool can carry out, or none at all."""

    def __init__(self, headline: str, span: Span | None = None, help: str | None = None) -> None:
        super().__init__(headline)
        self.headline, self.span, self.help = headline, span, help


def find(program: ir.Program, name: str | None) -> ir.Block:
    """The `train` block of a name, or the only one."""
    blocks = {k: b for k, b in program.blocks.items() if b.kind == "train"}
    if name is not None:
        if name in blocks:
            return blocks[name]
        from alchemist_dsl.diagnostics.model import near

        close = near(name, blocks, 1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        raise NoTraining(f"the recipe has no `train` block `{name}`{hint}")
    if not blocks:
        raise NoTraining("the recipe has no `train` block")
    if len(blocks) > 1:
        raise NoTraining(f"the recipe has several trainings; name one of {', '.join(f'`{b}`' for b in blocks)}")
    return next(iter(blocks.values()))


def trained(program: ir.Program, block: ir.Block, recipe: str, folder: str, gpus: int | None) -> Trained:
    """The values of a block. `folder`: from where the configuration is used to that of the recipe ("" is the same)."""
    base = block.get("base")
    made = Trained(block, recipe, "", "", gpus or _devices(block), _seed(program, block), folder)
    match base:
        case ir.TextV(value=name):
            made.base = "/".join(p for p in (folder if base_folder(base) else "", name) if p)
        case ir.RefV(target=other):
            made.base = f".alchemist/outputs/{recipe.removesuffix('.recipe')}/{other}/model"
            made.unsaid("base", f"it starts from the weights of `{other}`; run that first, and see that they lie here")
        case _:
            raise NoTraining(
                f"`{block.name}` starts from new weights, which other tools do not make",
                block.name_span,
                'write `base = "owner/model"`',
            )
    _data(made, program, folder)
    if gpus is None and not isinstance(block.get("gpus"), ir.Qty):
        made.remarks["batch"] = (
            f"{made.sequences} {made.unit} on one device; `--gpus N` of `alchemist export` shares them out"
        )
    return made


def _seed(program: ir.Program, block: ir.Block) -> int:
    """The seed of the block, else of the recipe."""
    recipe = program.recipe
    own = block.get("seed") or (recipe.get("seed") if recipe is not None else None)
    return int(own.value) if isinstance(own, ir.Qty) else 0


def _devices(block: ir.Block) -> int:
    """Devices of all machines, as far as the block says."""
    each, nodes, processes = block.get("gpus"), block.get("nodes"), block.get("processes")
    number = processes if isinstance(processes, ir.Qty) else each
    count = number.value if isinstance(number, ir.Qty) and number.value else Fraction(1)
    return max(1, int(count * (nodes.value if isinstance(nodes, ir.Qty) else 1)))


def _data(made: Trained, program: ir.Program, folder: str) -> None:
    """The exported rows of the stream that the training reads, as chat messages."""
    wanted = made.block.get("data")
    exports = [b for b in program.blocks.values() if b.kind == "export"]
    same = [b for b in exports if _same(b.get("data"), wanted)]
    for block in same:
        form, path = block.get("format"), block.get("path")
        if isinstance(form, ir.ChoiceV) and form.name == "messages" and isinstance(path, ir.TextV):
            made.rows = "/".join(p for p in (folder, path.value.rstrip("/")) if p)
            return
    name = wanted.target if isinstance(wanted, ir.RefV) else "sft"
    made.rows = "/".join(p for p in (folder, f"out/{name}") if p)
    why = "its export is no file of chat messages" if same else "no `export` writes the rows that it reads"
    made.unsaid(
        "data",
        f"{why}; {made.rows} stands for them",
        f'add `export {name}_rows {{ data = {name}, format = messages, path = "out/{name}" }}` on lines of its own and'
        " run it",
    )


def _same(one: ir.Value | None, other: ir.Value | None) -> bool:
    return (
        isinstance(one, ir.RefV)
        and isinstance(other, ir.RefV)
        and (one.target, one.port, one.origin) == (other.target, other.port, other.origin)
    )
