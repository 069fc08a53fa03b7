"""`alchemist export`: what it writes for axolotl and TRL, that it runs, and that it comes back as the same training."""

from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl import ir
from alchemist_dsl.checker import check
from alchemist_dsl.cli.main import group
from alchemist_dsl.migrate import recipe_draft, to_axolotl, to_trl
from alchemist_dsl.migrate.run import migrate
from alchemist_dsl.migrate.training import Trained, find, trained
from alchemist_dsl.source import SourceFile

ROWS = {"kind": "source", "name": "talks", "hub": "acme/talks", "revision": "0" * 40}
EXPORT = {"kind": "export", "name": "rows", "data": "talks", "format": "messages", "path": "out"}
BASE: dict[str, Any] = {
    "kind": "train",
    "name": "tuned",
    "data": "talks",
    "base": "acme/base",
    "revision": "1" * 40,
    "epochs": 2,
    "batch": "32 packs",
    "micro_batch": "4 packs",
    "max_length": "2048 tokens",
    "learning_rate": 1e-4,
}
#: Attributes whose values both sides say: a training comes back with the same ones.
COMPARED = (
    "base",
    "revision",
    "method",
    "epochs",
    "steps",
    "batch",
    "micro_batch",
    "max_length",
    "packing",
    "loss",
    "optimizer",
    "learning_rate",
    "schedule",
    "weight_decay",
    "max_grad_norm",
    "precision",
    "eval_share",
    "seed",
    "save_every",
)


def program(train: dict[str, Any], seed: int = 42) -> ir.Program:
    recipe = {"kind": "recipe", "title": "t", "seed": seed}
    if train.get("packing") == "none":
        train = train | {n: train[n].replace("pack", "row") for n in ("batch", "micro_batch")}
    text = recipe_draft.recipe({"edition": 2026, "blocks": [recipe, ROWS, EXPORT, train]})
    made, problems = check(SourceFile("r.recipe", text), lambda _: None)
    assert made is not None
    assert [p.headline for p in problems if "A9" not in p.code and p.code not in ("A307", "A804", "A807")] == []
    return made


def exported(train: dict[str, Any], gpus: int = 1) -> Trained:
    made = program(train)
    return trained(made, find(made, None), "r.recipe", "", gpus)


def values(block: ir.Block, seed: int) -> dict[str, Any]:
    """The attributes as plain values."""
    out: dict[str, Any] = {}
    for name in COMPARED:
        value = block.get(name)
        match value:
            case ir.Qty():
                out[name] = (value.kind.replace("real", "int"), value.value)
            case ir.MethodV():
                out[name] = (value.name, value.args)
            case ir.ChoiceV():
                out[name] = value.name
            case ir.TextV():
                out[name] = value.value
    out["seed"] = out.get("seed", ("int", seed))
    if out.get("eval_share", ("", 0))[1] == 0:
        out.pop("eval_share", None)
    return out


SCHEDULES = st.builds(
    lambda kind, warm, floor: (
        f"{kind}(warmup = {warm}" + (f", floor = {floor}%)" if kind == "cosine" and floor else ")")
    ),
    st.sampled_from(["constant", "linear", "cosine"]),
    st.sampled_from(["3%", "0%", "12.5%", "20 steps", "1 step"]),
    st.sampled_from([0, 10, 25]),
)
TRAININGS = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.sampled_from([1, 2, 1.5]),
        "micro_batch": st.sampled_from(["1 pack", "2 packs", "8 packs"]),
        "packing": st.sampled_from(["none", "ffd"]),
        "loss": st.sampled_from(["assistant", "last", "all"]),
        "optimizer": st.sampled_from(["adamw", "adamw_8bit", "adafactor", "sgd", "lion"]),
        "learning_rate": st.sampled_from([1e-5, 2e-4, 0.01]),
        "schedule": SCHEDULES,
        "weight_decay": st.sampled_from([0, 0.1]),
        "max_grad_norm": st.sampled_from([0, 0.5, 1]),
        "precision": st.sampled_from(["bf16", "fp16", "fp32"]),
        "eval_share": st.sampled_from(["2%", "100 rows"]),
        "seed": st.integers(0, 2**31),
        "save_every": st.sampled_from(["500 steps", "25%"]),
        "method": st.sampled_from(
            ["lora(r = 8, alpha = 16)", 'lora(r = 4, alpha = 4, dropout = 0.1, targets = "q_proj, v_proj")']
        ),
        "chat_template": st.sampled_from(
            ["acme/other", {"template": "{% for m in messages %}\n'{{ m.content }}'\n{% endfor %}"}]
        ),
        "on_long": st.sampled_from(["drop", "error", "truncate"]),
        "dropout": st.just(0.1),
        "report": st.sampled_from([["wandb"], ["tensorboard", "trackio"]]),
        "parallel": st.sampled_from(["ddp", "fsdp", "zero2", "zero3"]),
    },
)


def back(text: str, tool: str) -> dict[str, Any]:
    found = migrate(SourceFile("tuned.yaml", text), tool=tool, gpus=1)
    assert found.recipe is not None
    made, _ = check(SourceFile("-", found.recipe), lambda _: None)
    assert made is not None
    seed = next(b for b in made.blocks.values() if b.kind == "recipe").get("seed")
    assert isinstance(seed, ir.Qty)
    return values(find(made, None), int(seed.value))


@given(TRAININGS)
def test_axolotl_and_back(some: dict[str, Any]) -> None:
    made = exported(BASE | some)
    text = to_axolotl.write(made)
    assert back(text, "axolotl") == values(made.block, 42)


@given(TRAININGS)
def test_trl_and_back(some: dict[str, Any]) -> None:
    """The script's own arguments, read as TRL's YAML."""
    made = exported(BASE | some)
    script = to_trl.write(made)
    seen = arguments(script)
    keys = {k: v for k, v in seen["config"].items() if k not in ("output_dir", "model_init_kwargs")}
    if lora := seen["trainer"].get("peft_config"):
        keys |= {
            "use_peft": True,
            "lora_r": lora["r"],
            "lora_alpha": lora["lora_alpha"],
            "lora_dropout": lora["lora_dropout"],
            "lora_target_modules": lora["target_modules"],
        }
    keys |= {"model_name_or_path": seen["trainer"]["model"], "model_revision": "1" * 40}
    if "test_size" in seen:
        keys["test_split_size"] = seen["test_size"]
    pair = {"path": "acme/talks", "columns": ["prompt", "completion"] if made.word("loss") == "last" else ["messages"]}
    assert back(yaml.safe_dump(keys | {"datasets": [pair]}), "trl") == values(made.block, 42)


def arguments(script: str) -> dict[str, Any]:
    """What a script gives to `SFTConfig`, `SFTTrainer` and the split, with stand-ins for the libraries."""
    seen: dict[str, Any] = {}

    class Rows:
        column_names = ("messages",)

        def map(self, function: Any, **_: Any) -> Rows:
            seen["row"] = function({"messages": [{"role": "user"}, {"role": "assistant"}]})
            return self

        def train_test_split(self, test_size: float, seed: int) -> dict[str, Rows]:
            seen["test_size"] = test_size
            return {"train": self, "test": self}

    class Config(dict[str, Any]):
        output_dir = ""

    class Trainer:
        def __init__(self, **given: Any) -> None:
            seen["trainer"], seen["config"] = given, given["args"]

        def train(self) -> None:
            seen["trained"] = True

        def save_model(self, folder: str) -> None:
            seen["saved"] = folder

    class Tokenizer:
        @classmethod
        def from_pretrained(cls, *_: str, **__: str) -> Tokenizer:
            return cls()

    parts: dict[str, dict[str, Any]] = {
        "datasets": {"load_dataset": lambda *_, **__: Rows()},
        "trl": {"SFTConfig": Config, "SFTTrainer": Trainer},
        "peft": {"LoraConfig": dict},
        "transformers": {"AutoTokenizer": Tokenizer},
    }
    before = {name: sys.modules.get(name) for name in parts}
    for name, members in parts.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__dict__.update(members)
        sys.modules[name] = module
    try:
        exec(compile(script, "script.py", "exec"), {"__file__": "script.py", "__name__": "__main__"})
    finally:
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old
    assert seen["trained"]
    return seen


def test_what_cannot_be_said_is_a_comment_and_a_warning() -> None:
    some = {
        "dropout": 0.1,
        "average": "rows",
        "packing": "wrapped",
        "on_long": "error",
        "schedule": "linear(floor = 10%)",
    }
    for writer, left in (
        (to_axolotl, {"dropout", "average", "packing", "schedule"}),
        (to_trl, {"dropout", "average", "on_long", "schedule"}),
    ):
        made = exported(BASE | some)
        text = writer.write(made)
        assert {p.headline.split("`")[1] for p in made.problems} == left
        assert all(f"# {name}: " in text for name in left)
        assert {p.code for p in made.problems} == {"A956"}


def test_a_template_without_marks_is_told() -> None:
    some = {"chat_template": {"template": "{% for m in messages %}\n{{ m.content }}\n{% endfor %}"}}
    made = exported(BASE | some | {"on_long": "truncate"})
    to_trl.write(made)
    assert [p.headline.split("`")[1] for p in made.problems] == ["loss"]
    marked = {
        "chat_template": {
            "template": "{% for m in messages %}\n{% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}"
        }
    }
    made = exported(BASE | marked | {"on_long": "truncate"})
    to_trl.write(made)
    assert made.problems == []


# --- the command ------------------------------------------------------------------------------------------------------


def alchemist(*args: str) -> Result:
    return CliRunner().invoke(group, list(args))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = recipe_draft.recipe({"edition": 2026, "blocks": [ROWS, EXPORT, BASE]})
    (tmp_path / "r.recipe").write_text(text)
    (tmp_path / "two.recipe").write_text(text + recipe_draft.block_text(BASE | {"name": "other"}))
    (tmp_path / "none.recipe").write_text(recipe_draft.recipe({"edition": 2026, "blocks": [ROWS, EXPORT]}))
    (tmp_path / "new.recipe").write_text(
        recipe_draft.recipe(
            {
                "edition": 2026,
                "blocks": [
                    ROWS,
                    EXPORT,
                    {k: v for k, v in BASE.items() if k not in ("base", "revision")} | {"init": "scratch()"},
                ],
            }
        )
    )
    return tmp_path


def test_rows_are_those_of_the_export_from_where_the_file_lies(folder: Path) -> None:
    (folder / "deep").mkdir()
    done = alchemist("export", "r.recipe", "--to", "axolotl", "-o", "deep/a.yaml", "--gpus", "4")
    assert (done.exit_code, done.stdout) == (0, "wrote deep/a.yaml\n")
    made = yaml.safe_load((folder / "deep" / "a.yaml").read_text())
    assert made["datasets"][0]["path"] == "../out"
    assert (made["micro_batch_size"], made["gradient_accumulation_steps"]) == (4, 2)
    again = alchemist("export", "r.recipe", "--to", "axolotl", "-o", "deep/a.yaml")
    assert again.exit_code == 2 and "is not written over" in again.stderr


@pytest.mark.parametrize(
    ("tool", "said"), [("axolotl", "chat_template_jinja: ../chat.jinja"), ("trl", "str(HERE / '../chat.jinja')")]
)
def test_the_file_of_a_template_is_named_from_where_the_file_lies(folder: Path, tool: str, said: str) -> None:
    (folder / "deep").mkdir()
    (folder / "chat.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    block = recipe_draft.block_text(
        {k: v for k, v in BASE.items() if k != "chat_template"} | {"chat_template": "chat.jinja"}
    )
    (folder / "f.recipe").write_text(recipe_draft.recipe({"edition": 2026, "blocks": [ROWS, EXPORT]}) + block)
    assert alchemist("export", "f.recipe", "--to", tool, "-o", "deep/x").exit_code == 0
    assert said in (folder / "deep" / "x").read_text()


def test_a_stream_that_nobody_exports_is_named(folder: Path) -> None:
    text = (folder / "r.recipe").read_text().replace("format = messages", "format = parquet")
    (folder / "r.recipe").write_text(text)
    done = alchemist("export", "r.recipe", "--to", "trl")
    assert done.exit_code == 0
    assert "`data`: its export is no file of chat messages" in done.stderr
    assert "# data: its export is no file of chat messages" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (["two.recipe", "--to", "trl"], 1, "several trainings; name one of `tuned`, `other`"),
        (["two.recipe", "othr", "--to", "trl"], 1, "did you mean `other`?"),
        (["none.recipe", "--to", "trl"], 1, "has no `train` block"),
        (["new.recipe", "--to", "trl"], 1, "starts from new weights"),
        (["nosuch.recipe", "--to", "trl"], 2, "there is no recipe"),
        (["r.recipe"], 2, "--to"),
        (["r.recipe", "--to", "unsloth"], 2, "unsloth"),
        (["r.recipe", "--to", "trl", "-o", "no/x.py"], 2, "there is no folder `no`"),
    ],
)
def test_usage(folder: Path, args: list[str], code: int, part: str) -> None:
    done = alchemist("export", *args)
    assert done.exit_code == code
    assert part in done.stderr


def test_a_wrong_recipe_is_told_as_check_tells_it(folder: Path) -> None:
    (folder / "r.recipe").write_text("edition 2026\ntrain x {\n}\n")
    done = alchemist("export", "r.recipe", "--to", "trl")
    assert done.exit_code == 1
    assert "A106" in done.stderr


@pytest.mark.slow
@pytest.mark.needs("trl")
def test_the_script_trains(folder: Path) -> None:
    """Two steps of a tiny model with TRL itself, on the CPU."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {t: i for i, t in enumerate(["<pad>", "<s>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz ?."])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder / "base")
    shape = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(shape).save_pretrained(folder / "base")
    assert AutoTokenizer.from_pretrained(folder / "base").eos_token == "</s>"
    (folder / "out" / "data").mkdir(parents=True)
    turns = [{"role": "user", "content": "is it so?"}, {"role": "assistant", "content": "it is."}]
    (folder / "out" / "data" / "train.jsonl").write_text(f"{json.dumps({'messages': turns})}\n" * 8)
    template = "{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}"
    train = {k: v for k, v in BASE.items() if k not in ("revision", "epochs")} | {
        "base": str(folder / "base"),
        "steps": 2,
        "batch": "2 rows",
        "micro_batch": "2 rows",
        "max_length": "64 tokens",
        "packing": "none",
        "loss": "last",
        "precision": "fp32",
        "chat_template": {"template": template},
    }
    (folder / "r.recipe").write_text(recipe_draft.recipe({"edition": 2026, "blocks": [ROWS, EXPORT, train]}))
    assert alchemist("export", "r.recipe", "--to", "trl", "-o", "go.py").exit_code == 0
    done = subprocess.run([sys.executable, "go.py"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "out" / "tuned" / "model.safetensors").exists()
