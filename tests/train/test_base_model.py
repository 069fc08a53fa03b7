"""Where a training starts: templates from a text, a file, a model; bases that lack one or do not exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Method, TrainSpec

pytest.importorskip("transformers")

from alchemist_runtime.train import base_model

OTHER = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def spec(**more: Any) -> TrainSpec:
    fields: dict[str, Any] = {
        "init": Method(name="pretrained"),
        "method": Method(name="full"),
        "batch": {"unit": "rows", "value": 8},
        "max_length": 512,
        "learning_rate": "1/1000",
        "schedule": Method(name="constant"),
    }
    return TrainSpec(**(fields | more))


def start(spec: TrainSpec, tmp_path: Path, texts: dict[str, str] | None = None) -> tuple[Any, Any]:
    return base_model.prepare_start(spec, tmp_path / "start", base_dir=None, project=tmp_path, texts=texts or {})


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A base without a chat template."""
    folder = tmp_path / "bare"
    base_model.write_byte_tokenizer(folder, 512)
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.mark.parametrize("how", ["text", "digest", "file", "model"])
def test_a_template_from_elsewhere(tmp_path: Path, bare: Path, how: str) -> None:
    (tmp_path / "t.jinja").write_text(OTHER)
    base_model.write_byte_tokenizer(tmp_path / "chatty", 512)
    (tmp_path / "chatty" / "chat_template.jinja").write_text(OTHER)
    wanted = {
        "text": {"text": OTHER},
        "digest": {"text": "b2:00"},
        "file": {"file": "t.jinja"},
        "model": {"model": "chatty"},
    }[how]
    found, tokenizer = start(spec(base="bare", chat_template=wanted), tmp_path, {"b2:00": OTHER})
    assert found.model == str(bare) and tokenizer.chat_template == OTHER
    assert (found.tokenizer / "chat_template.jinja").read_text() == OTHER
    assert base_model.load_tokenizer(str(found.tokenizer)).chat_template == OTHER


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"base": "bare"}, "A801", "no chat template"),
        ({"base": "bare", "chat_template": {"file": "none.jinja"}}, "A801", "none.jinja"),
        ({}, "A808", "no model to start from"),
        ({"init": Method(name="scratch", args={"hidden": 30, "heads": 4})}, "A808", "4 heads"),
    ],
)
def test_what_a_person_must_mend(tmp_path: Path, bare: Path, more: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(RunError) as caught:
        start(spec(**more), tmp_path)
    problem = caught.value.problem
    assert problem.code == code and said in problem.headline and problem.help
    assert caught.value.exit_code == 1


def test_a_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RunError) as caught:
        start(spec(base="nobody/no-such-model", revision="0" * 40), tmp_path)
    problem = caught.value.problem
    assert problem.code == "A808" and caught.value.exit_code == 3
    assert "`nobody/no-such-model` at revision 000000000000" in problem.headline


def test_scratch_starts_from_files_made_here(tmp_path: Path) -> None:
    args = {"layers": 3, "hidden": 64, "heads": 2, "intermediate": 128, "context": 300}
    found, tokenizer = start(spec(init=Method(name="scratch", args=args), dropout="1/10"), tmp_path)
    assert found.model is None and tokenizer.chat_template == base_model.BYTE_TEMPLATE
    config = json.loads((found.tokenizer / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (3, 64)
    assert config["max_position_embeddings"] == 300 and config["attention_dropout"] == 0.1
    assert config["vocab_size"] == base_model.BYTE_VOCABULARY == len(tokenizer)
