"""Masks against masks worked out by hand, for templates with marks, without marks, and of another shape."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.train.chat import Encoder, Template, documents, messages
from train_rows import table

CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
#: Drops what the assistant said before its last turn, as templates of reasoning models do.
FORGETFUL = (
    "{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}<|assistant|>…<|end|>"
    "{% else %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

TWO_TURNS = {
    "system": "be brief",
    "history": [
        {"role": "user", "content": "a?", "extra": None},
        {"role": "assistant", "content": "A1", "extra": None},
    ],
    "instruction": "bé?",
    "response": "B2 ü",
}


def with_template(tokenizer: Any, template: str) -> Any:
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


def learnt(tokenizer: Any, row: dict[str, Any], loss: str) -> tuple[str, list[str]]:
    """The text of a row and its learnt stretches, each decoded."""
    (doc,) = documents(table([row]), Template(tokenizer), Encoder(tokenizer), loss)  # type: ignore[arg-type]
    assert len(doc.ids) == len(doc.labels)
    kept = doc.labels >= 0
    assert (doc.labels[kept] == doc.ids[kept]).all()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(int)))
    parts = [tokenizer.decode(doc.ids[a:b]) for a, b in edges.reshape(-1, 2)]
    return tokenizer.decode(doc.ids), parts


@pytest.mark.parametrize(
    ("template", "text", "assistant"),
    [
        (
            None,
            "<|system|>be brief<|end|><|user|>a?<|end|><|assistant|>A1<|end|>"
            "<|user|>bé?<|end|><|assistant|>B2 ü<|end|>",
            ["A1<|end|>", "B2 ü<|end|>"],
        ),
        (
            CHATML,
            "<|system|>be brief<|end|>\n<|user|>a?<|end|>\n<|assistant|>A1<|end|>\n"
            "<|user|>bé?<|end|>\n<|assistant|>B2 ü<|end|>\n",
            ["A1<|end|>", "B2 ü<|end|>"],
        ),
        (INST, "[INST] a? [/INST] A1<|end|>[INST] bé? [/INST] B2 ü<|end|>", [" A1<|end|>", " B2 ü<|end|>"]),
    ],
    ids=["marks", "prefix", "inst"],
)
def test_masks_by_hand(byte_tokenizer: Any, template: str | None, text: str, assistant: list[str]) -> None:
    tokenizer = byte_tokenizer if template is None else with_template(byte_tokenizer, template)
    row = dict(TWO_TURNS) if template != INST else {**TWO_TURNS, "system": None}
    assert learnt(tokenizer, row, "assistant") == (text, assistant)
    assert learnt(tokenizer, row, "last") == (text, assistant[-1:])
    whole, all_parts = learnt(tokenizer, row, "all")
    # everything but the first token
    assert whole == text and len(all_parts) == 1 and text.endswith(all_parts[0])
    assert len(tokenizer.encode(text, add_special_tokens=False)) == 1 + len(
        tokenizer.encode(all_parts[0], add_special_tokens=False)
    )


def test_a_template_that_forgets_is_refused(byte_tokenizer: Any) -> None:
    tokenizer = with_template(byte_tokenizer, FORGETFUL)
    with pytest.raises(RunError) as caught:
        learnt(tokenizer, TWO_TURNS, "assistant")
    assert caught.value.problem.code == "A801"
    assert "loss = last" in (caught.value.problem.help or "")
    # its last turn stands there in full
    assert learnt(tokenizer, TWO_TURNS, "last")[1] == ["B2 ü<|end|>"]


def test_a_row_that_the_template_refuses_is_named(byte_tokenizer: Any) -> None:
    tokenizer = with_template(byte_tokenizer, INST)
    good = {"instruction": "x", "response": "y"}
    batch = table([good, TWO_TURNS, good])
    with pytest.raises(RunError) as caught:
        documents(batch, Template(tokenizer), Encoder(tokenizer), "assistant")
    assert caught.value.problem.code == "A810"
    assert batch["_id"][1].as_py().hex() in caught.value.problem.headline
    assert "only user and assistant" in caught.value.problem.headline


def test_tools_tail_and_template_args(byte_tokenizer: Any) -> None:
    call = json.dumps({"tool_calls": [{"name": "f"}]})
    row = {
        "instruction": "go",
        "_tail": [{"role": "assistant", "content": "", "extra": call}, {"role": "tool", "content": "7", "extra": None}],
        "response": "seven",
        "tools": json.dumps([{"name": "f"}]),
    }
    text, parts = learnt(byte_tokenizer, row, "assistant")
    assert text == (
        '<|tools|>[{"name": "f"}]<|end|><|user|>go<|end|><|assistant|>[{"name": "f"}]<|end|>'
        "<|tool|>7<|end|><|assistant|>seven<|end|>"
    )
    assert parts == ['[{"name": "f"}]<|end|>', "seven<|end|>"]
    wordy = with_template(byte_tokenizer, "{% if loud %}!{% endif %}" + CHATML)
    plain, loud = (
        learnt(wordy, {"instruction": "i", "response": "r", "template_args": a}, "assistant")
        for a in (None, '{"loud": true}')
    )
    assert loud[0] == "!" + plain[0] and loud[1] == plain[1] == ["r<|end|>"]


def test_messages_leave_out_null_turns() -> None:
    assert messages(table([{"instruction": "i", "response": "r"}])) == [
        [{"role": "user", "content": "i"}, {"role": "assistant", "content": "r"}]
    ]


def test_fast_and_exact_token_spans_agree(byte_tokenizer: Any) -> None:
    """The way by byte counts against the tokenizer's own offsets, with characters of one to four bytes."""
    encoder = Encoder(byte_tokenizer)
    texts = ["plain text", "ä€𝄞 mixed<|end|>\n", "", "<|user|>x<|end|>"]
    spans = [[(0, 5), (6, 10)], [(1, 3), (4, 9)], [(0, 0)], [(8, 16)]]
    fast = encoder._fast(texts, spans)
    exact = encoder._exact(texts, spans)
    assert fast is not None
    assert [t.tolist() for t in fast[0]] == [t.tolist() for t in exact[0]]
    assert fast[1][0] == exact[1][0] and fast[1][3] == exact[1][3] and fast[1][2] == []
    # a character of several bytes counts whole
    assert byte_tokenizer.decode(fast[0][1][slice(*fast[1][1][0])]) == "€𝄞"


def test_a_learned_vocabulary_with_merges(byte_tokenizer: Any) -> None:
    """Tokens of several bytes that straddle nothing: the same masks as transformers computes itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["return the value of the number"] * 50, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.chat_template = byte_tokenizer.chat_template
    row = {"system": "the value", "instruction": "number?", "response": "return the  value ünd"}
    (doc,) = documents(table([row]), Template(tokenizer), Encoder(tokenizer), "assistant")
    own = tokenizer.apply_chat_template(messages(table([row]))[0], return_dict=True, return_assistant_tokens_mask=True)
    assert doc.ids.tolist() == own["input_ids"]
    assert (doc.labels >= 0).astype(int).tolist() == own["assistant_masks"]
