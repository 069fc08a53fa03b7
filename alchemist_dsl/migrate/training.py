"""What all tools call hyper-parameters -> attributes of a `train` block, each with its guards and remarks."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from alchemist_dsl import ir
from alchemist_dsl.checker.outputs import FILES as CHAT_FILES
from alchemist_dsl.checker.outputs import MODEL as CHAT_MODEL
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.lowering.scope import base_folder
from alchemist_dsl.migrate.recipe_draft import Draft, counted, percent, real
from alchemist_dsl.migrate.source_location import Files
from alchemist_dsl.migrate.tracked_mapping import Asked
from alchemist_dsl.source import Span

#: Names of optimisers -> that of the language. What comes after the name in them is speed or memory.
OPTIMIZERS: Final[Mapping[str, str]] = {
    "adamw": "adamw",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_torch_xla": "adamw",
    "adamw_hf": "adamw",
    "adamw_apex_fused": "adamw",
    "paged_adamw": "adamw",
    "paged_adamw_32bit": "adamw",
    "adamw_8bit": "adamw_8bit",
    "adamw_bnb_8bit": "adamw_8bit",
    "adamw_torch_8bit": "adamw_8bit",
    "paged_adamw_8bit": "adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion",
    "lion_32bit": "lion",
    "paged_lion": "lion",
    "paged_lion_32bit": "lion",
}
REPORTS: Final = ("tensorboard", "wandb", "mlflow", "trackio")
NO_MODEL: Final = "no model is named, so nothing is trained"
ONE_DEVICE: Final = "`alchemist migrate --gpus N` says for how many devices it was written"


def text(value: str) -> dict[str, str]:
    """Words of the language, as data of a recipe."""
    return {"recipe": value}


def chat_template(requested: Asked, key: str, name: str, files: Files) -> dict[str, str] | str | None:
    """A template that a configuration names: its text, its file, or the model to take it from. None, told, where it is
    not there.
    """
    there = files.kind(name)
    displayed = files.shown(name)
    inside = not displayed.startswith(("/", "../"))
    if there == "file" and inside and displayed.endswith(CHAT_FILES):
        return displayed
    text = files.read(name) if there == "file" else None
    if text is not None:
        return {"template": text.strip("\n")}
    if there == "folder" and inside:
        return f"./{displayed}"
    if there is None and CHAT_MODEL.fullmatch(name) and not name.endswith(CHAT_FILES):
        return name
    why = "lies outside the project" if there else "is not there"
    requested.unsaid(
        key,
        f"`{_short(name)}` {why}; the base's own template is taken",
        "chat_template",
        help='mend the path, or take it from a model: `chat_template = "owner/model"`',
    )
    return None


def batch(
    requested: Asked,
    out: dict[str, Any],
    micro: str,
    accumulate: str,
    gpus: int | None,
    *,
    default: int,
    total: str = "",
) -> None:
    """`batch` and `micro_batch`: rows per device, times steps of accumulation, times devices."""
    rows = requested.whole(micro, 1, 10**6) or default
    times = requested.whole(accumulate, 1, 10**6) or 1
    whole = requested.whole(total, 1, 10**9) if total and total in requested else None
    out["micro_batch"] = counted(rows, "rows")
    if whole is not None:
        out["batch"] = counted(whole, "rows")
        return
    out["batch"] = counted(rows * times * (gpus or 1), "rows")
    if gpus is None:
        why = f"{rows} x {times} for one device; with more devices `batch` is their product"
        requested.otherwise(micro, why, "batch", help=ONE_DEVICE)
    else:
        devices = "1 device" if gpus == 1 else f"{gpus} devices"
        requested.remark(f"{rows} a device x {times} x {devices}", "batch")


def sequences(out: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a training, with its batch in packs where rows are packed: these tools count sequences,
    whatever is in them. `on_long`: where nothing else is said, they cut what is too long."""
    if out.get("packing", "none") != "none":
        for name in ("batch", "micro_batch"):
            out[name] = re.sub(r"row(s?)$", r"pack\1", out[name])
    return {"on_long": "truncate", **out}


def passes(requested: Asked, out: dict[str, Any], epochs: str, steps: str, *, default: float) -> None:
    """`steps` where there is a maximum, else `epochs`."""
    most = requested.whole(steps, -1)
    if most is not None and most > 0:
        out["steps"] = most
        if epochs in requested:
            requested.leave(epochs, f"`{steps}` counts")
        return
    number = requested.real(epochs, 1e-6)
    out["epochs"] = text(real(default if number is None else number))


def schedule(
    requested: Asked, out: dict[str, Any], kind_key: str, warmup: str | None, floor: Fraction | None, *, default: str
) -> None:
    """`schedule`: the nearest of constant, linear and cosine."""
    name = requested.text(kind_key) or default
    arguments = [f"warmup = {warmup}"] if warmup else []
    same = {
        "linear": "linear",
        "cosine": "cosine",
        "constant": "constant",
        "constant_with_warmup": "constant",
        "cosine_with_min_lr": "cosine",
    }
    kind = same.get(name)
    if kind is None:
        kind = "cosine" if "cosine" in name else "linear"
        requested.unsaid(kind_key, f"`{kind}` is the nearest to `{_short(name)}`", "schedule")
    if name == "constant" and arguments:
        arguments = []
        requested.remark("`constant` has no warm-up", "schedule")
    if floor and kind != "constant" and 0 <= floor <= 1:
        arguments.append(f"floor = {percent(floor)}")
    if not arguments and kind != "constant":
        arguments = ["warmup = 0%"]
    out["schedule"] = text(f"{kind}({', '.join(arguments)})")


def warmup(requested: Asked, steps: str, ratio: str) -> str | None:
    """Warm-up as steps or as a share. Steps count where both are given, as in all of these tools."""
    number = requested.real(steps, 0)
    if number is not None and number > 0:
        if ratio in requested:
            requested.leave(ratio, f"`{steps}` counts")
        if number < 1:
            return percent(number)
        if number == int(number):
            return counted(int(number), "steps")
        requested.unsaid(steps, "it is no whole number", "schedule")
        return None
    share = requested.real(ratio, 0, 1)
    return percent(share) if share else None


def optimizer(requested: Asked, out: dict[str, Any], key: str) -> None:
    name = requested.text(key)
    if name is None:
        return
    known = OPTIMIZERS.get(name.lower())
    if known is None and name.lower().startswith(("lion", "paged_lion")):
        known = "lion"
        requested.otherwise(key, f"`lion` keeps its state in 32 bits, `{_short(name)}` does not", "optimizer")
    elif known is None:
        known = "adamw"
        requested.unsaid(key, f"`adamw` stands for `{_short(name)}`", "optimizer")
    out["optimizer"] = known


def numbers(requested: Asked, out: dict[str, Any], names: Mapping[str, tuple[str, float, float]]) -> None:
    """Attributes that are one number: key -> (attribute, lowest, highest)."""
    for key, (attribute, low, high) in names.items():
        if key in requested and (number := requested.real(key, low, high)) is not None:
            out[attribute] = text(real(number))


def seed(requested: Asked, key: str, default: int) -> int:
    number = requested.whole(key, 0, 2**63 - 1)
    return default if number is None else number


def save(requested: Asked, out: dict[str, Any], steps: str, strategy: str, epochs: float | None) -> None:
    """`save_every`, from a number or share of steps, or from once an epoch."""
    how = requested.get(strategy)
    word = how.raw.lower() if how is not None else "steps"
    if word in ("no", "false", "best"):
        for key in (steps,):
            if key in requested:
                requested.leave(key, f"`{strategy}` is {word}")
        return
    if word == "epoch":
        if steps in requested:
            requested.leave(steps, "once an epoch counts")
        _each_epoch(out, epochs, 1)
        return
    number = requested.real(steps, 0)
    if number is None or not number:
        return
    out["save_every"] = text(percent(number) if number < 1 else counted(int(number), "steps"))


def _each_epoch(out: dict[str, Any], epochs: float | None, times: int) -> None:
    if epochs and epochs > 0:
        share = Fraction(1, times) / Fraction(str(epochs))
        if share < 1:
            out["save_every"] = text(percent(round(share, 4)))


saves_per_epoch = _each_epoch


def report(requested: Asked, out: dict[str, Any], key: str) -> None:
    names = [n.lower() for n in requested.texts(key) or ()]
    known = [n for n in dict.fromkeys(names) if n in REPORTS]
    others = [n for n in names if n not in (*REPORTS, "none", "all")]
    if others:
        requested.unsaid(key, f"figures go to {', '.join(REPORTS)} only", "report")
    if known:
        out["report"] = known


def lora(requested: Asked, out: dict[str, Any], *, r: int, alpha: int, dropout: float, targets: str) -> None:
    """`method = lora(…)`, with the tool's own defaults written out."""
    size = f"r = {r}, alpha = {alpha}" + (f", dropout = {real(dropout)}" if dropout else "")
    where = "" if targets == "all-linear" else f", targets = {_quoted(targets)}"
    out["method"] = text(f"lora({size}{where})")


def targets(requested: Asked, key: str, default: str) -> str:
    """LoRA's modules as the language writes them: names with commas, or all linear ones."""
    names = requested.texts(key)
    if not names:
        return default
    if {n.lower() for n in names} & {"all", "all-linear", "all_linear"}:
        return "all-linear"
    good = [n for n in names if re.fullmatch(r"[A-Za-z0-9_.\-]+", n)]
    if len(good) < len(names):
        requested.unsaid(key, "only names of modules can be said, no patterns", "method")
    return ", ".join(good) or default


def parallel(
    requested: Asked, out: dict[str, Any], deepspeed: str = "deepspeed", fsdp: Sequence[str] = ("fsdp", "fsdp_config")
) -> None:
    """`parallel`. It changes the speed only, so the nearest shipped configuration is good enough."""
    value = requested.get(deepspeed)
    if value is not None:
        stage = _stage(value.data, value.shown)
        if stage in ("2", "3"):
            out["parallel"] = f"zero{stage}"
        requested.leave(
            deepspeed, f"`parallel = {out.get('parallel', 'ddp')}` stands for it; it changes the speed only"
        )
    there = [k for k in fsdp if k in requested]
    for key in there:
        requested.leave(key, "`parallel = fsdp` stands for it; it changes the speed only")
    if there and "parallel" not in out and any(requested.data[k].data for k in there):
        out["parallel"] = "fsdp"


def _stage(data: Any, shown: str) -> str | None:
    if isinstance(data, dict):
        zero = data.get("zero_optimization")
        inner = zero.data if zero is not None else None
        stage = inner.get("stage") if isinstance(inner, dict) else None
        return stage.raw if stage is not None else None
    found = re.search(r"(?:zero|stage|z)[_\-]?([0-3])", shown.lower())
    return found[1] if found else None


def base(requested: Asked, out: dict[str, Any], model: str, revision: str) -> bool:
    """`base` and `revision`; False where no model is named."""
    name = requested.text(model)
    if name is None or not name.strip():
        return False
    out["base"] = name.strip()
    at = requested.text(revision)
    if at and at != "main":
        out["revision"] = at
    return True


def nothing_trained(
    requested: Asked,
    draft: Draft,
    used: Mapping[str, str],
    left: Mapping[str, str],
    unsaid: Mapping[str, str],
    families: Mapping[str, str] | None = None,
) -> Draft:
    """A mixture without a training: what hyper-parameters there are become comments."""
    requested.rest(left, {**unsaid, **dict.fromkeys(used, NO_MODEL)}, used, families)
    return draft


def held_out(requested: Asked, out: dict[str, Any], key: str) -> None:
    """`eval_share`, from a share below 1 or a number of rows."""
    number = requested.real(key, 0)
    if not number:
        return
    if number < 1:
        out["eval_share"] = text(percent(number))
    elif number == int(number):
        out["eval_share"] = text(counted(int(number), "rows"))
    else:
        requested.unsaid(key, "it is neither a share nor a number of rows", "eval_share")


def _quoted(value: str) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _short(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= 40 else f"{line[:39]}…"


# --- train view ------------------------------------------------------------------------------------------------------

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
    blocks = {b.name: b for b in program.of("train")}
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
    result = Trained(block, recipe, "", "", gpus or _devices(block), _seed(program, block), folder)
    match base:
        case ir.TextV(value=name):
            result.base = "/".join(p for p in (folder if base_folder(base) else "", name) if p)
        case ir.RefV(target=other):
            result.base = f".alchemist/outputs/{recipe.removesuffix('.recipe')}/{other}/model"
            result.unsaid(
                "base", f"it starts from the weights of `{other}`; run that first, and see that they lie here"
            )
        case _:
            raise NoTraining(
                f"`{block.name}` starts from new weights, which other tools do not make",
                block.name_span,
                'write `base = "owner/model"`',
            )
    _data(result, program, folder)
    if gpus is None and not isinstance(block.get("gpus"), ir.Qty):
        result.remarks["batch"] = (
            f"{result.sequences} {result.unit} on one device; `--gpus N` of `alchemist export` shares them out"
        )
    return result


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


def _data(result: Trained, program: ir.Program, folder: str) -> None:
    """The exported rows of the stream that the training reads, as chat messages."""
    wanted = result.block.get("data")
    same = [b for b in program.of("export") if _same(b.get("data"), wanted)]
    for block in same:
        form, path = block.get("format"), block.get("path")
        if isinstance(form, ir.ChoiceV) and form.name == "messages" and isinstance(path, ir.TextV):
            result.rows = "/".join(p for p in (folder, path.value.rstrip("/")) if p)
            return
    name = wanted.target if isinstance(wanted, ir.RefV) else "sft"
    result.rows = "/".join(p for p in (folder, f"out/{name}") if p)
    why = "its export is no file of chat messages" if same else "no `export` writes the rows that it reads"
    result.unsaid(
        "data",
        f"{why}; {result.rows} stands for them",
        f'add `export {name}_rows {{ data = {name}, format = messages, path = "out/{name}" }}` on lines of its own and'
        " run it",
    )


def _same(one: ir.Value | None, other: ir.Value | None) -> bool:
    return (
        isinstance(one, ir.RefV)
        and isinstance(other, ir.RefV)
        and (one.target, one.port, one.origin) == (other.target, other.port, other.origin)
    )
