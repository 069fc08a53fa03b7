"""What the model sees: isolation of documents in a pack, the order of sequences, the course of the learning rate."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alchemist_runtime.schema.plan import Method
from alchemist_runtime.train.prepare import Settings, prepare
from train_rows import source, sums

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from alchemist_runtime.train.base_model import new_weights, scratch_model, write_scratch_config  # noqa: E402
from alchemist_runtime.train.data import NOTHING, Collator, Ordered, Sequence_, mapped, order, shuffled, steps_of  # noqa: E402
from alchemist_runtime.train.trainer import factor  # noqa: E402

#: Written down once: a change would move the order of every training.
GOLDEN = [2, 5, 1, 4, 6, 0, 3, 7]

SMALL = {"layers": 2, "hidden": 32, "heads": 2, "intermediate": 64, "context": 256}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("model")
    write_scratch_config(folder, SMALL)
    made = new_weights(folder, 3)
    made.config.use_cache = False
    # larger weights than a fresh model has, so that attention really looks around
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(6)
    return made.eval()


def pack(*lengths: int, seed: int = 0) -> Sequence_:
    draws = np.random.default_rng(seed).integers(0, 256, sum(lengths)).astype(np.int32)
    return Sequence_(draws, draws.copy(), np.array(lengths, np.int32))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("flat", [False, True])
def test_documents_in_a_pack_do_not_see_one_another(model: Any, attention: str, flat: bool) -> None:
    model.set_attn_implementation(attention)
    packs = [pack(40, 33, 1, 20, seed=1), pack(25, 30, seed=2)]
    batch = Collator(pad=256, packed=True, flat=flat)(packs)
    assert "attention_mask" not in batch
    with torch.no_grad():
        together = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
        at = 0
        for row, one in enumerate(packs):
            at = 0 if not flat and row else at
            start = 0
            for length in one.lengths.tolist():
                ids = torch.from_numpy(one.ids[start : start + length].astype(np.int64))[None]
                alone = model(input_ids=ids).logits[0]
                inside = together[0 if flat else row, at : at + length]
                assert (inside - alone).abs().max() <= 1e-5 * max(1.0, alone.abs().max())
                start, at = start + length, at + length


def test_the_isolation_test_can_fail(model: Any) -> None:
    """With an all-ones mask, which hides the restarts from the model, the second document sees the first."""
    model.set_attn_implementation("sdpa")
    one = pack(40, 33, seed=1)
    batch = Collator(pad=256, packed=True)([one])
    with torch.no_grad():
        leaky = model(
            **{k: v for k, v in batch.items() if k != "labels"}, attention_mask=torch.ones_like(batch["input_ids"])
        ).logits
        alone = model(input_ids=torch.from_numpy(one.ids[40:].astype(np.int64))[None]).logits[0]
    assert (leaky[0, 40:] - alone).abs().max() > 1e-2


def test_padding_changes_no_loss(model: Any) -> None:
    """Unpacked rows of different lengths in one batch: the mean over tokens is that of the rows alone."""
    model.set_attn_implementation("sdpa")
    rows = [pack(12, seed=4), pack(31, seed=5)]
    collate = Collator(pad=256, packed=False)
    with torch.no_grad():
        both = model(**collate(rows)).loss.item()
        parts = [model(**collate([r])).loss.item() for r in rows]
    assert both == pytest.approx((parts[0] * 11 + parts[1] * 30) / 41, abs=1e-5)


def test_mapped_packs_are_the_prepared_ones(tmp_path: Path, byte_tokenizer: Any) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / "p"
    prepare(source(sums(120)), folder, tokenizer=byte_tokenizer, settings=Settings(max_length=200))
    packs = mapped(folder, "train", tmp_path / "work", first=True)
    stored = pq.read_table(next(folder.glob("train-*.parquet"))).to_pylist()
    assert len(packs) == len(stored)
    for i in (0, 3, len(packs) - 1):
        assert packs[i].ids.tolist() == stored[i]["input_ids"]
        assert packs[i].labels.tolist() == stored[i]["labels"]
        assert packs[i].lengths.tolist() == stored[i]["lengths"]
    assert packs.tokens().tolist() == [len(p["input_ids"]) for p in stored]
    assert packs.squares() == sum(n * n for p in stored for n in p["lengths"])
    last = Ordered(packs, np.array([2, NOTHING]), pad=256)
    assert last[0].ids.tolist() == stored[2]["input_ids"]
    assert last[1].labels.tolist() == [-100]


def test_order_passes_over_all_before_any_again() -> None:
    places = order(10, 4, epochs=Fraction(5, 2), steps=None, seed=7)
    assert len(places) == 28 and steps_of(10, 4, Fraction(5, 2), None) == 7
    kept = places[places != NOTHING]
    assert len(kept) == 25 and (places[25:] == NOTHING).all()
    assert sorted(kept[:10]) == sorted(kept[10:20]) == list(range(10))
    assert set(Counter(kept.tolist()).values()) == {2, 3}
    assert kept[:10].tolist() != kept[10:20].tolist()
    by_steps = order(10, 4, epochs=None, steps=6, seed=7)
    assert len(by_steps) == 24 and (by_steps == places[:24]).all()


def test_shuffles_are_the_same_for_ever() -> None:
    assert shuffled(8, 1, 0).tolist() == GOLDEN
    assert shuffled(8, 2, 0).tolist() != GOLDEN
    assert sorted(shuffled(1000, 2**64 - 1, 3).tolist()) == list(range(1000))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Method(name="constant", args={}), [0.5, 1, 1, 1, 1, 1]),
        (Method(name="linear", args={}), [0.5, 1, 1, 0.75, 0.5, 0.25]),
        (Method(name="linear", args={"floor": "1/10"}), [0.5, 1, 1, 0.775, 0.55, 0.325]),
        (Method(name="cosine", args={"floor": "0"}), [0.5, 1, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_course_of_the_learning_rate(schedule: Method, expected: list[float]) -> None:
    found = [factor(schedule.name, schedule.args, s, 2, 6) for s in range(6)]
    assert found == pytest.approx(expected, abs=1e-5)


def test_scratch_models_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folders = [scratch_model(tmp_path / str(i), SMALL, seed) for i, seed in enumerate((5, 5, 6))]
    first, second, other = ((f / "model.safetensors").read_bytes() for f in folders)
    assert first == second != other
    for name in ("tokenizer.json", "chat_template.jinja", "config.json"):
        assert (folders[0] / name).read_bytes() == (folders[2] / name).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(folders[0])
    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    assert model.config.num_hidden_layers == 2 and model.config.vocab_size == len(tokenizer)
    text = "def f():\n    return 'ü€𝄞'"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == list(text.encode()) and tokenizer.decode(ids) == text
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], add_generation_prompt=True, tokenize=False)
    assert chat == "<|user|>x<|end|><|assistant|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
