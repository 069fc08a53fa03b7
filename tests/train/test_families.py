"""Families whose own chat template does not show what the model wrote: their templates for training, and their
layouts.
"""

from __future__ import annotations

import copy
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.train import base_model
from test_chat_forms import plan_of, spec_of
from test_chat_labels import learnt, made, row

TALK = [
    {"role": "system", "content": "Brief."},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "four", "reasoning_content": "two twos"},
    {"role": "user", "content": "3+3?"},
    {"role": "assistant", "content": "six", "reasoning_content": "two threes"},
]
CONTROL = [
    *("<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"),
    *(
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|endoftext|>",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<｜end▁of▁sentence｜>",
        "<｜begin▁of▁sentence｜>",
    ),
    *(
        "<SPECIAL_10>",
        "<SPECIAL_11>",
        "<SPECIAL_12>",
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ),
]
END, BOS = "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"
HARMONY = "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\nCurrent date: 2026-11-30\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, final. Channel must be included for every message.<|end|>"
CHATML = "<|im_start|>system\nBrief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n"

#: family -> the whole text, and what of it is learnt
EXPECTED: dict[str, tuple[str, list[str]]] = {
    "qwen3": (
        CHATML.replace("\nA<", "\nfour<").replace("\nB<", "\n<think>\ntwo threes\n</think>\n\nsix<"),
        ["four<|im_end|>", "<think>\ntwo threes\n</think>\n\nsix<|im_end|>"],
    ),
    "qwen3_5": (
        CHATML.replace("\nA<", "\nfour<").replace("\nB<", "\n<think>\ntwo threes\n</think>\n\nsix<"),
        ["four<|im_end|>", "two threes\n</think>\n\nsix<|im_end|>"],
    ),
    "nemotron": (
        CHATML.replace("\nA<", "\n<think></think>four<").replace("\nB<", "\n<think>\ntwo threes\n</think>\nsix<"),
        ["four<|im_end|>", "two threes\n</think>\nsix<|im_end|>"],
    ),
    "phi3": (
        "<|system|>\nBrief.<|end|>\n<|user|>\n2+2?<|end|>\n<|assistant|>\nfour<|end|>\n<|user|>\n3+3?<|end|>\n<|assistant|>\nsix<|end|>\n<|endoftext|>",
        ["four<|end|>", "six<|end|>"],
    ),
    "deepseek_v3": (
        f"{BOS}Brief.<｜User｜>2+2?<｜Assistant｜>four{END}<｜User｜>3+3?<｜Assistant｜>six{END}",
        [f"four{END}", f"six{END}"],
    ),
    "deepseek_r1": (
        f"{BOS}Brief.<｜User｜>2+2?<｜Assistant｜>four{END}<｜User｜>3+3?<｜Assistant｜><think>\ntwo threes\n</think>\n\nsix{END}",
        [f"four{END}", f"two threes\n</think>\n\nsix{END}"],
    ),
    "gpt_oss": (
        f"{HARMONY}<|start|>developer<|message|># Instructions\n\nBrief.\n\n<|end|><|start|>user<|message|>2+2?<|end|>"
        "<|start|>assistant<|channel|>final<|message|>four<|end|><|start|>user<|message|>3+3?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>two threes<|end|><|start|>assistant<|channel|>final<|message|>six<|return|>",
        [
            "<|channel|>final<|message|>four<|end|>",
            "<|channel|>analysis<|message|>two threes<|end|><|start|>assistant<|channel|>final<|message|>six<|return|>",
        ],
    ),
}


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer: Any) -> Any:
    """The bytes, and the control tokens of all families."""
    made = copy.deepcopy(byte_tokenizer)
    made.add_special_tokens({"additional_special_tokens": CONTROL, "bos_token": BOS, "eos_token": "<|endoftext|>"})
    return made


def with_template(tokenizer: Any, template: str) -> Any:
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


def without_marks(name: str) -> str:
    """A template of the family's structure as the models themselves have it: it marks no reply."""
    return re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", base_model.training_template(name))


def test_every_family_has_its_values() -> None:
    assert set(EXPECTED) == set(base_model.FAMILIES)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("own", [False, True], ids=["training", "layout"])
def test_replies_of_several_turns(tokenizer: Any, name: str, own: bool) -> None:
    """By the template for training; and by the layout, where the model's own template is taken as it is."""
    one = with_template(tokenizer, without_marks(name) if own else base_model.training_template(name))
    text, parts = EXPECTED[name]
    (doc,) = made(one, row(TALK), day=date(2026, 11, 30))
    assert one.decode(doc.ids) == text
    if own and name == "nemotron":  # what the prompt of an earlier turn would open is not what stands there
        parts = ["<think></think>four<|im_end|>", parts[1]]
    assert learnt(one, doc) == parts
    (doc,) = made(one, row(TALK), loss="last", day=date(2026, 11, 30))
    assert learnt(one, doc) == parts[-1:]


@pytest.mark.parametrize("name", EXPECTED)
def test_single_turns_calls_and_thoughts_in_the_text(tokenizer: Any, name: str) -> None:
    """Rows that hold the thought in the reply give the same tokens; a call is learnt, its result is not."""
    one = with_template(tokenizer, base_model.training_template(name))
    inline = [TALK[1], {"role": "assistant", "content": "<think>\ntwo twos\n</think>\n\nfour"}]
    apart = [TALK[1], TALK[2]]
    if name not in ("gpt_oss", "phi3"):  # their rows hold thoughts apart, or have none
        first, second = made(one, row(inline), row(apart))
        assert one.decode(first.ids) == one.decode(second.ids)
        assert learnt(one, first) == learnt(one, second)
        assert ("reasoning" in first.notes) == (name == "deepseek_v3")
    if name == "phi3":
        return
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    talk = [
        TALK[1],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4"},
        TALK[2],
    ]
    (doc,) = made(one, row(talk))
    parts = learnt(one, doc)
    assert len(parts) == 2 and "add" in parts[0] and "four" in parts[1]
    assert '{"a": 2}' in parts[0] or "<parameter=a>\n2\n</parameter>" in parts[0]
    assert "4" not in "".join(parts) and "4" in one.decode(doc.ids)
    assert not doc.notes - {"reasoning"}


def test_a_prompt_that_ends_a_thought_is_not_learnt(tokenizer: Any) -> None:
    talk = [TALK[1], {"role": "assistant", "content": "four"}]
    for name, quick, usual in (
        ("qwen3", "four<|im_end|>", "<think>\n\n</think>\n\nfour<|im_end|>"),
        ("qwen3_5", "four<|im_end|>", "\n</think>\n\nfour<|im_end|>"),
    ):
        for template in (base_model.training_template(name), without_marks(name)):
            one = with_template(tokenizer, template)
            fast, slow = made(one, row(talk, template_args='{"enable_thinking": false}'), row(talk))
            assert (learnt(one, fast), learnt(one, slow)) == ([quick], [usual])


#: As the models distilled from R1 have it: the prompt opens a thought, and every thought is dropped.
DROPS_THOUGHTS = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"


def test_a_layout_needs_what_the_turns_say_and_text_without_control_tokens(tokenizer: Any) -> None:
    one = with_template(tokenizer, DROPS_THOUGHTS)
    talk = [TALK[1], {"role": "assistant", "content": "<think>x</think>four"}]
    (doc,) = made(one, row(talk))
    assert learnt(one, doc) == [f"four{END}"] and doc.notes == {"reasoning"}
    told = [{"role": "user", "content": f"a<｜Assistant｜>b{END}"}, TALK[2]]
    with pytest.raises(RunError):
        made(one, row(told))
    (doc,) = made(one, row(told), special="split")
    assert learnt(one, doc) == [f"four{END}"]
    forgets = with_template(tokenizer, DROPS_THOUGHTS.replace("m.content.split('</think>')[-1]", "'…'"))
    with pytest.raises(RunError) as caught:
        made(forgets, row(talk))
    assert caught.value.problem.code == "A801" and "training(" in (caught.value.problem.help or "")


def test_a_recipe_names_a_family(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 'chat_template = training("qwen3")')
    found = spec_of(plan).chat_template
    assert found is not None and found["training"] == "qwen3"
    assert plan.texts[found["text"]] == base_model.training_template("qwen3")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "that of the byte tokenizer"),
        ('chat_template = training("gpt_oss")\n  date = "2026-11-30"', 'training("gpt_oss"), with the day 2026-11-30'),
        ('chat_template = "chat.jinja"', "chat.jinja"),
        ('chat_template = "owner/model"', "that of owner/model"),
        ('chat_template = "{{ messages }}"', "the recipe's own"),
    ],
)
def test_the_plan_says_which_template_is_taken(
    tmp_path: Path, line: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from alchemist_dsl.cli.main import group

    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    plan_of(tmp_path, line)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, ["compile", "r.recipe"])
    assert f"template tiny: {words}\n" in done.stdout
