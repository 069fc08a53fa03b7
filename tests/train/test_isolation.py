"""Packed against alone in 26 architectures: a pack keeps its rows apart, or the training refuses before its first
step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Method, TrainSpec
from train_rows import source, sums

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from alchemist_runtime.train import base_model, step, trainer  # noqa: E402
from alchemist_runtime.train.data import Collator, Isolation, isolation  # noqa: E402
from alchemist_runtime.train.launch import Job  # noqa: E402

WORDS = base_model.BYTE_VOCABULARY
ENDS = {"pad_token_id": 256, "bos_token_id": None, "eos_token_id": 257}
#: Sizes as most configurations call them, as GPT-2's and as BLOOM's children call them.
COMMON = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    **ENDS,
}
GROUPED = {**COMMON, "num_key_value_heads": 2, "max_position_embeddings": 256}
WIDE = {**GROUPED, "head_dim": 8}
GPT = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, **ENDS}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}

APART: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", GROUPED),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 8}),
    "qwen2": ("Qwen2", GROUPED),
    "qwen3": ("Qwen3", WIDE),
    "gemma2": ("Gemma2", {**WIDE, "sliding_window": 8}),
    "gemma3": ("Gemma3Text", {**WIDE, "sliding_window": 8}),
    "gpt2": ("GPT2", GPT),
    "gpt_neox": ("GPTNeoX", COMMON),
    "phi3": ("Phi3", GROUPED),
    "olmo2": ("Olmo2", GROUPED),
    "starcoder2": ("Starcoder2", {**GROUPED, "sliding_window": 8}),
    "codegen": ("CodeGen", {**GPT, "rotary_dim": 8}),
    "gpt_bigcode": ("GPTBigCode", GPT),
    "qwen2_moe": ("Qwen2Moe", {**GROUPED, **EXPERTS}),
    "mixtral": ("Mixtral", {**GROUPED, "num_local_experts": 4}),
    "llama4": ("Llama4Text", {**WIDE, "num_local_experts": 2, "attention_chunk_size": 16, "intermediate_size_mlp": 64}),
}
LEAKY: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": ("OPT", {**COMMON, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 256}),
    "bloom": ("Bloom", {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 4, **ENDS}),
    "falcon": ("Falcon", {**COMMON, "alibi": True}),
    "mpt": ("Mpt", {"vocab_size": WORDS, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256}),
    "mamba": ("Mamba", {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, **ENDS}),
    "mamba2": (
        "Mamba2",
        {
            "vocab_size": WORDS,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_heads": 4,
            "head_dim": 16,
            "state_size": 8,
            "n_groups": 1,
            **ENDS,
        },
    ),
    "lfm2": ("Lfm2", {**GROUPED, "layer_types": ["conv", "full_attention"]}),
    "qwen3_next": ("Qwen3Next", {**WIDE, **LINEAR, **EXPERTS, "layer_types": ["linear_attention", "full_attention"]}),
    "granitemoehybrid": (
        "GraniteMoeHybrid",
        {
            **GROUPED,
            "layer_types": ["mamba", "attention"],
            "mamba_n_heads": 4,
            "mamba_d_head": 16,
            "mamba_d_state": 8,
            "num_local_experts": 0,
            "shared_intermediate_size": 64,
        },
    ),
    "recurrent_gemma": (
        "RecurrentGemma",
        {**COMMON, "num_hidden_layers": 3, "num_key_value_heads": 1, "lru_width": 32, "attention_window_size": 32},
    ),
}


def made(kind: str, sizes: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.config.use_cache = False
    return model


def proved(model: Any, flat: bool = False) -> Isolation:
    return isolation(lambda batch: model(**batch).logits, Collator(256, True, flat), WORDS)


def test_there_are_26_of_them() -> None:
    assert len(APART.keys() | LEAKY.keys()) == 26


@pytest.mark.parametrize("name", APART)
def test_rows_of_a_pack_are_apart(name: str) -> None:
    found = proved(made(*APART[name]))
    assert found.holds and found.seen < 1e-5


@pytest.mark.parametrize("name", LEAKY)
def test_rows_of_a_pack_that_see_one_another_are_found(name: str) -> None:
    found = proved(made(*LEAKY[name]))
    assert not found.holds and found.seen > 1e-4 > 1e-5 > found.rounding


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_leak_and_hides_none(dtype: Any) -> None:
    for sizes in (APART["llama"], APART["mixtral"]):
        assert proved(made(*sizes).to(dtype), flat=True).holds
    for sizes in (LEAKY["falcon"], LEAKY["mamba"]):
        assert not proved(made(*sizes).to(dtype), flat=True).holds


def base(folder: Path, kind: str, sizes: dict[str, Any]) -> Path:
    """A base on disk: tiny weights of an architecture with the byte tokenizer."""
    base_model.write_byte_tokenizer(folder, 256)
    made(kind, sizes).save_pretrained(folder)
    return folder


def train_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str) -> dict[str, Any]:
    """A training of two steps in this process."""

    def launch(spec: TrainSpec, job: Path, **_: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setenv("ACCELERATE_USE_CPU", "true")
            trainer.run(Job.read(job))
        return _Done()

    class _Done:
        stopped = False

    monkeypatch.setattr(step, "launch", launch)
    spec = TrainSpec(
        base=str(folder),
        init=Method(name="pretrained"),
        method=Method(name="full"),
        steps=2,
        gpus="0",
        batch={"unit": "rows" if packing == "none" else "packs", "value": 4},
        max_length=128,
        packing=packing,
        learning_rate="1/1000",
        schedule=Method(name="constant"),
        precision="fp32",
    )
    return step.run_train(spec, source(sums(40)), tmp_path / packing, project_root=tmp_path)


@pytest.mark.parametrize("name", ["lfm2", "gemma2"])
def test_a_packed_training_refuses_or_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = base(tmp_path / "base", *{**APART, **LEAKY}[name])
    if name in LEAKY:
        with pytest.raises(RunError) as refused:
            train_on(folder, tmp_path, monkeypatch, "ffd")
        problem = refused.value.problem
        assert problem.code == "A814" and "`lfm2`" in problem.headline
        assert "`packing = none`" in (problem.help or "") and "batch = " in (problem.help or "")
        assert not list((tmp_path / "ffd" / "checkpoints").iterdir())
        assert (tmp_path / "ffd" / "train.jsonl").read_text() == ""
    for packing in ("none",) if name in LEAKY else ("none", "ffd"):
        figures = train_on(folder, tmp_path, monkeypatch, packing)
        assert figures["steps"] == 2 and figures["last_loss"] > 0
        saved = json.loads((tmp_path / packing / "model" / "config.json").read_text())
        assert saved["model_type"] == name
