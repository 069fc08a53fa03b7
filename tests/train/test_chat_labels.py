"""What is trained is what the rows hold: contents that are no text, tool calls, weights, ends of turns, control tokens,
days.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alchemist_runtime.engine.row_functions import turns
from alchemist_runtime.engine.turns import split
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.train.chat import Document, Encoder, Template, documents
from alchemist_runtime.train.prepare import Settings, prepare
from train_rows import table

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at": [1, 2], "city": "Paris"}'}}
TALK = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "18 C"},
    {"role": "assistant", "content": "It is 18 C."},
]
CALLS = "{% for c in m.tool_calls or [] %}CALL {{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}"
AROUND = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}REPLY<|end|>{% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
ARGUMENTS = '{"at": [1, 2], "city": "Paris"}'


def row(conversation: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A conversation as a source reads it into the turn columns."""
    read = turns(conversation)
    assert read is not None
    return {k: v for k, v in split(read).items() if k != "_extra"} | {"_extra": split(read)["_extra"]} | more


def batch(*rows: dict[str, Any]) -> Any:
    import pyarrow as pa

    made = table([{k: v for k, v in r.items() if k != "_extra"} for r in rows])
    return made.append_column("_extra", pa.array([r.get("_extra") for r in rows], pa.string()))


def with_template(tokenizer: Any, template: str) -> Any:
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


def made(
    tokenizer: Any, *rows: dict[str, Any], loss: Any = "assistant", special: Any = "keep", day: date | None = None
) -> list[Document]:
    return documents(batch(*rows), Template(tokenizer, day), Encoder(tokenizer), loss, special)


def learnt(tokenizer: Any, doc: Document) -> list[str]:
    """The learnt stretches of a document, each decoded."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], doc.labels >= 0, [False]]).astype(int)))
    return [tokenizer.decode(doc.ids[a:b]) for a, b in edges.reshape(-1, 2)]


# --- contents and tool calls ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        # asks for null, as templates of models with tools do
        ("{% if m.content is none %}" + CALLS + "{% else %}{{ m.content }}{% endif %}", f"CALL weather {ARGUMENTS}"),
        # prints the content: null is no text
        ("{{ m.content }}" + CALLS, f"CALL weather {ARGUMENTS}"),
        # puts texts together, which null refuses
        ("{{ m.content + '' }}" + CALLS, f"CALL weather {ARGUMENTS}"),
        # wants arguments as text: puts them together, or prints them
        (
            "{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ 'CALL ' + c.function.arguments }}{% endfor %}",
            f"CALL {ARGUMENTS}",
        ),
        (
            "{{ m.content or '' }}{% for c in m.tool_calls or [] %}CALL {{ c.function.arguments }}{% endfor %}",
            f"CALL {ARGUMENTS}",
        ),
        # takes both
        (
            "{{ m.content or '' }}{% for c in m.tool_calls or [] %}CALL {% if c.function.arguments is string %}{{ c.function.arguments }}{% else %}{{ c.function.arguments | tojson }}{% endif %}{% endfor %}",
            f"CALL {ARGUMENTS}",
        ),
        # walks through them
        (
            "{{ m.content or '' }}{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }};{% endfor %}{% endfor %}",
            'at=[1, 2];city="Paris";',
        ),
    ],
)
@pytest.mark.parametrize("given", ["text", "object"])
def test_tool_calls_beside_a_null_content(byte_tokenizer: Any, reply: str, said: str, given: str) -> None:
    tokenizer = with_template(byte_tokenizer, AROUND.replace("REPLY", reply))
    talk = copy.deepcopy(TALK)
    if given == "object":
        talk[1]["tool_calls"][0]["function"]["arguments"] = json.loads(ARGUMENTS)  # type: ignore[index]
    (doc,) = made(tokenizer, row(talk))
    assert learnt(tokenizer, doc) == [f"{said}<|end|>", "It is 18 C.<|end|>"]
    assert not doc.notes - {"tool_calls"}  # the name is not written by all of them


def test_arguments_that_are_no_object_are_told(byte_tokenizer: Any) -> None:
    talk = copy.deepcopy(TALK)
    talk[1]["tool_calls"][0]["function"]["arguments"] = "city: Paris"  # type: ignore[index]
    tokenizer = with_template(byte_tokenizer, AROUND.replace("REPLY", "{{ m.content }}" + CALLS))
    (doc,) = made(tokenizer, row(talk))
    assert learnt(tokenizer, doc)[0] == 'CALL weather "city: Paris"<|end|>'
    assert doc.notes == {"arguments"}


PARTS = [{"type": "text", "text": "what is "}, {"type": "text", "text": "this?"}]
IMAGE = [{"type": "image", "url": "x.png"}, {"type": "text", "text": "what?"}]
READS_PARTS = "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% elif p.type == 'image' %}[image]{% endif %}{% endfor %}<|end|>{% endfor %}"


def test_a_list_of_text_parts(byte_tokenizer: Any) -> None:
    asked = row([{"role": "user", "content": PARTS}, {"role": "assistant", "content": "a cat"}])
    prints = with_template(byte_tokenizer, AROUND.replace("REPLY", "{{ m.content }}"))
    reads = with_template(byte_tokenizer, READS_PARTS)
    for tokenizer in (prints, reads):
        (doc,) = made(tokenizer, asked, loss="all")
        assert tokenizer.decode(doc.ids) == "<|user|>what is this?<|end|><|assistant|>a cat<|end|>"
        assert doc.notes == frozenset()
    seen = row([{"role": "user", "content": IMAGE}, {"role": "assistant", "content": "a cat"}])
    (doc,) = made(reads, seen, loss="all")
    assert reads.decode(doc.ids) == "<|user|>[image]what?<|end|><|assistant|>a cat<|end|>"
    (doc,) = made(prints, seen, loss="all")
    assert "parts" in doc.notes


# --- what a template leaves out ---------------------------------------------------------------------------------------

DROPS = "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content | trim }}<|end|>{% elif m.role == 'assistant' %}<|assistant|>{% generation %}{{ m.content.split('</think>')[-1] | trim }}<|end|>{% endgeneration %}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        ([("system", "French."), ("user", "2+2?"), ("assistant", "<think>two</think>quatre")], {"system", "reasoning"}),
        ([("user", "3+3?"), ("assistant", "six")], set()),
        ([("user", "  3+3?"), ("assistant", "six\n")], set()),
        ([("user", "go on"), ("assistant", "    return x")], {"indentation"}),
        ([("user", "go on"), ("assistant", "<think>x</think>")], {"reasoning"}),
        ([("user", "a"), ("tool", "18 C"), ("assistant", "b")], {"tool"}),
    ],
)
def test_what_a_template_leaves_out_is_told(byte_tokenizer: Any, talk: list[tuple[str, str]], told: set[str]) -> None:
    tokenizer = with_template(byte_tokenizer, DROPS)
    (doc,) = made(tokenizer, row([{"role": r, "content": c} for r, c in talk]))
    assert doc.notes == told


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_under_any_of_its_names(byte_tokenizer: Any, name: str) -> None:
    talk = [{"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "six", name: "3 and 3"}]
    (doc,) = made(with_template(byte_tokenizer, DROPS), row(talk))
    assert doc.notes == {"reasoning"}
    keeps = AROUND.replace("REPLY", "<think>{{ m.reasoning_content }}</think>{{ m.content }}")
    tokenizer = with_template(byte_tokenizer, keeps)
    (doc,) = made(tokenizer, row(talk))
    assert learnt(tokenizer, doc) == ["<think>3 and 3</think>six<|end|>"] and not doc.notes


def test_calls_tools_and_replies_that_are_left_out(byte_tokenizer: Any) -> None:
    tokenizer = with_template(
        byte_tokenizer,
        DROPS.replace("m.content.", "(m.content or '').").replace("m.role == 'user'", "m.role in ['user', 'tool']"),
    )
    tools = json.dumps([{"type": "function", "function": {"name": "get_weather"}}])
    (doc,) = made(tokenizer, row(TALK, tools=tools))
    assert doc.notes == {"tool_calls", "tools"}
    upper = with_template(byte_tokenizer, AROUND.replace("REPLY", "{{ m.content | upper }}"))
    (doc,) = made(upper, row([{"role": "user", "content": "a"}, {"role": "assistant", "content": "yes"}]))
    assert doc.notes == {"reply"}


def test_counts_by_origin_survive_a_preparation_that_was_interrupted(
    tmp_path: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alchemist_runtime.train.prepare.WINDOW_ROWS", 1_000)
    rows = [
        {"instruction": f"q{i}", "response": "  a" if i % 2 else "a", "origin": "x" if i < 1500 else "y"}
        for i in range(2_000)
    ]
    tokenizer = with_template(byte_tokenizer, DROPS)
    settings = Settings(max_length=64)

    def half() -> Any:
        yield table(rows).slice(0, 1_000)
        raise OSError

    with pytest.raises(OSError):
        prepare(half, tmp_path / "p", tokenizer=tokenizer, settings=settings)
    seen: list[Any] = []
    summary = prepare(
        lambda: iter([table(rows)]), tmp_path / "p", tokenizer=tokenizer, settings=settings, on_progress=seen.append
    )
    assert len(seen) == 1, "the first window is kept"
    assert summary["told"] == {"indentation": {"x": 750, "y": 250}}
    assert summary["first"] == {"indentation": table(rows)["_id"][1].as_py().hex()}


def test_what_is_told_is_told_of_the_rows_that_are_trained(tmp_path: Path, byte_tokenizer: Any) -> None:
    rows = [{"instruction": "q", "response": "  " + "a" * n} for n in (1, 2, 90, 95)]
    tokenizer = with_template(byte_tokenizer, DROPS)
    figures = {}
    for on_long in ("drop", "truncate"):
        settings = Settings(max_length=64, on_long=on_long, packing="none")
        summary = prepare(lambda: iter([table(rows)]), tmp_path / on_long, tokenizer=tokenizer, settings=settings)
        figures[on_long] = (summary["rows"], sum(summary["told"]["indentation"].values()))
    assert figures == {"drop": (2, 2), "truncate": (4, 4)}


# --- weights ----------------------------------------------------------------------------------------------------------

WEIGHED = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "bad", "weight": 0},
    {"role": "user", "content": "again"},
    {"role": "assistant", "content": "good", "weight": 1},
]
PREFIX = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


@pytest.mark.parametrize("template", [AROUND.replace("REPLY", "{{ m.content }}"), PREFIX])
@pytest.mark.parametrize(
    ("weights", "loss", "parts"),
    [
        ((0, 1), "assistant", ["good<|end|>"]),
        ((1, 0), "assistant", ["bad<|end|>"]),
        ((0, 0.0), "assistant", []),
        ((None, False), "assistant", ["bad<|end|>"]),
        ((0, 1), "last", ["good<|end|>"]),
        ((1, 0), "last", []),
        ((0, 1), "all", ["hi<|end|><|assistant|>", "<|user|>again<|end|><|assistant|>good<|end|>"]),
        ((0.5, 1), "assistant", ["bad<|end|>", "good<|end|>"]),
    ],
)
def test_replies_of_weight_0_are_not_learnt(
    byte_tokenizer: Any, template: str, weights: tuple[Any, Any], loss: str, parts: list[str]
) -> None:
    tokenizer = with_template(byte_tokenizer, template)
    talk = copy.deepcopy(WEIGHED)
    talk[1]["weight"], talk[3]["weight"] = weights
    (doc,) = made(tokenizer, row(talk), loss=loss)
    assert learnt(tokenizer, doc) == parts
    assert doc.notes == ({"weight"} if 0.5 in weights else frozenset())


def test_marks_that_do_not_match_the_replies_are_refused_where_weights_need_them(byte_tokenizer: Any) -> None:
    one = "{% generation %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% endgeneration %}"
    with pytest.raises(RunError) as caught:
        made(with_template(byte_tokenizer, one), row(WEIGHED))
    assert "marks 1 replies of row" in caught.value.problem.headline


#: Its prompt ends in a line break that no turn has, so what was asked is no prefix of the whole.
BROKEN_PROMPT = PREFIX.replace("<|assistant|>{% endif %}", "<|assistant|>{{ '\\n' }}{% endif %}")


def test_a_turn_of_weight_0_is_found_where_the_prompt_is_no_prefix(byte_tokenizer: Any) -> None:
    tokenizer = with_template(byte_tokenizer, BROKEN_PROMPT)
    (doc,) = made(tokenizer, row(WEIGHED), loss="all")
    assert learnt(tokenizer, doc) == ["hi<|end|>", "<|user|>again<|end|><|assistant|>good<|end|>"]
    for loss, other in (("assistant", "`loss = last` or `loss = all`"), ("last", "`loss = all`")):
        with pytest.raises(RunError) as caught:
            made(tokenizer, row(WEIGHED), loss=loss)
        assert f"or use {other};" in (caught.value.problem.help or "")


def test_what_is_never_a_prefix_is_not_advised_to_learn_all_where_it_does(byte_tokenizer: Any) -> None:
    tokenizer = with_template(byte_tokenizer, "{{ messages | length }}" + PREFIX)
    with pytest.raises(RunError) as caught:
        made(tokenizer, row(WEIGHED), loss="all")
    assert "leave out rows with turns of weight 0" in (caught.value.problem.help or "")


# --- ends of turns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "parts", "told"),
    [
        ("{% generation %}{{ m.content }}{% endgeneration %}<|end|>", ["bad<|end|>", "good<|end|>"], {"stop_added"}),
        (
            "{% generation %}{{ m.content }}{% endgeneration %}{{ '\n' }}<|end|>\n",
            ["bad\n<|end|>", "good\n<|end|>"],
            {"stop_added"},
        ),
        ("{% generation %}{{ m.content }}<|end|>{% endgeneration %}\n", ["bad<|end|>", "good<|end|>"], set()),
        ("{% generation %}{{ m.content }}{% endgeneration %}", ["bad", "good"], {"stop"}),
        ("{% generation %}{{ m.content }}[/S]{% endgeneration %}", ["bad[/S]", "good[/S]"], {"stop"}),
    ],
)
def test_the_token_that_ends_a_turn_is_learnt(
    byte_tokenizer: Any, template: str, parts: list[str], told: set[str]
) -> None:
    talk = [{k: v for k, v in m.items() if k != "weight"} for m in WEIGHED]
    around = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}REPLY{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
    tokenizer = with_template(byte_tokenizer, around.replace("REPLY", template))
    (doc,) = made(tokenizer, row(talk))
    assert learnt(tokenizer, doc) == parts
    assert doc.notes == told


def test_a_template_without_an_end_is_told_in_every_loss(byte_tokenizer: Any) -> None:
    bare = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for loss in ("assistant", "last", "all"):
        (doc,) = made(with_template(byte_tokenizer, bare), row(talk), loss=loss)
        assert doc.notes == {"stop"}
        (doc,) = made(with_template(byte_tokenizer, PREFIX), row(talk), loss=loss)
        assert doc.notes == frozenset()


# --- days -------------------------------------------------------------------------------------------------------------


def test_the_day_is_the_one_that_is_given(byte_tokenizer: Any) -> None:
    dated = "{% macro day() %}{{ strftime_now('%d %b %Y %H:%M') }}{% endmacro %}{{ day() }}" + PREFIX
    tokenizer = with_template(byte_tokenizer, dated)
    talk = row([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    for day, text in ((date(2026, 11, 30), "30 Nov 2026 00:00"), (date(2024, 2, 1), "01 Feb 2024 00:00")):
        (doc,) = made(tokenizer, talk, day=day)
        assert tokenizer.decode(doc.ids).startswith(text + "<|user|>")
        assert learnt(tokenizer, doc) == ["b<|end|>"]


def test_a_preparation_goes_on_with_its_day(
    tmp_path: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = with_template(byte_tokenizer, "{{ strftime_now('%Y-%m-%d') }}" + PREFIX)
    rows = [{"instruction": "a", "response": "b"}]

    def run(day: str | None = None) -> str | None:
        settings = Settings(max_length=64, packing="none", date=day)
        made = prepare(lambda: iter([table(rows)]), tmp_path / "p", tokenizer=tokenizer, settings=settings)
        return made["date"]  # type: ignore[no-any-return]

    today = run()
    assert today == date.today().isoformat()
    (tmp_path / "p" / "date").write_text("2020-01-02")
    (tmp_path / "p" / "summary.json").unlink()
    assert run() == "2020-01-02"
    assert run("2026-11-30") == "2026-11-30"
    plain = with_template(byte_tokenizer, PREFIX)
    settings = Settings(max_length=64, packing="none")
    assert prepare(lambda: iter([table(rows)]), tmp_path / "q", tokenizer=plain, settings=settings)["date"] is None


# --- tokens of odd tokenizers -----------------------------------------------------------------------------------------


def metaspace() -> Any:
    """A vocabulary of characters and bytes with `▁` for a space, as SentencePiece makes it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = ["<unk>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz?:.", "▁a"]
    core = Tokenizer(
        models.BPE({t: n for n, t in enumerate(letters)}, [("▁", "a")], unk_token="<unk>", byte_fallback=True)
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    return core


def wordpiece() -> Any:
    """Lower case, no accents, pieces of words, as BERT has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = "abcdefghijklmnopqrstuvwxyz?:."
    words = ["[UNK]", *letters, *(f"##{c}" for c in letters)]
    core = Tokenizer(models.WordPiece({t: n for n, t in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##")
    return core


def composed() -> Any:
    """Bytes behind NFKC: one character may become several, and those several tokens."""
    from alchemist_runtime.train.base_model import byte_characters
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    core = Tokenizer(models.BPE({c: n for n, c in enumerate(byte_characters())}, []))
    core.normalizer = normalizers.NFKC()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return core


def wrapped(core: Any) -> Any:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    names = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    core.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.chat_template = PREFIX
    return tokenizer


@pytest.mark.parametrize(
    ("core", "reply", "back"),
    [
        (metaspace, "a yes é", "a yes é"),
        (metaspace, "ends with 漢", "ends with 漢"),
        (wordpiece, "Éa yes", "ea yes"),
        (composed, "ﬁne ½", "fine 1⁄2"),
        (composed, "ﬃ", "ffi"),
    ],
)
def test_all_tokens_of_the_last_character_are_learnt(core: Any, reply: str, back: str) -> None:
    tokenizer = wrapped(core())
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply}]
    plain = with_template(tokenizer, PREFIX.replace("<|end|>", ""))
    for one, end in ((tokenizer, "<|end|>"), (plain, "")):
        (doc,) = made(one, row(talk))
        (part,) = learnt(one, doc)
        assert part.replace(" <|end|>", "<|end|>").lstrip() == back + end
        before = doc.ids[: np.flatnonzero(doc.labels >= 0)[0]]
        assert one.decode(before).rstrip().endswith("<|assistant|>")


# --- control tokens in texts ------------------------------------------------------------------------------------------

ODD = [
    {"role": "user", "content": "say <|end|> twice"},
    {"role": "assistant", "content": "first"},
    {"role": "user", "content": "<|assistant|>é<|user|>"},
    {"role": "assistant", "content": "<|end|>done"},
]


@pytest.mark.parametrize("core", [None, metaspace, composed])
def test_control_tokens_in_texts_are_kept_or_split(byte_tokenizer: Any, core: Any) -> None:
    tokenizer = with_template(byte_tokenizer, PREFIX) if core is None else wrapped(core())
    rows = [row(ODD), row([{"role": "user", "content": "a < b | c"}, {"role": "assistant", "content": "b"}])]
    kept, plain = made(tokenizer, *rows)
    apart, same = made(tokenizer, *rows, special="split")
    assert kept.notes == apart.notes == {"special"} and not plain.notes
    assert (same.ids.tolist(), same.labels.tolist()) == (plain.ids.tolist(), plain.labels.tolist())
    control = [tokenizer.convert_tokens_to_ids(t) for t in ("<|user|>", "<|assistant|>", "<|end|>")]
    assert [control.index(i) for i in kept.ids.tolist() if i in control] == [0, 2, 2, 1, 2, 0, 1, 0, 2, 1, 2, 2]
    assert [control.index(i) for i in apart.ids.tolist() if i in control] == [0, 2, 1, 2, 0, 2, 1, 2]
    if core is not composed:
        assert tokenizer.decode(apart.ids) == tokenizer.decode(kept.ids)
    first, second = learnt(tokenizer, apart)
    assert (first.strip(), second.strip()) == ("first<|end|>", "<|end|>done<|end|>")


def test_rows_with_control_tokens_may_be_an_error(tmp_path: Path, byte_tokenizer: Any) -> None:
    rows = [
        {"instruction": "a", "response": "b"},
        {"instruction": "say <|end|>", "response": "no", "origin": "x"},
        {"history": [{"role": "user", "content": "<|user|>", "extra": None}], "instruction": "a", "response": "b"},
    ]
    settings = Settings(max_length=64, special_tokens_in_text="error")
    with pytest.raises(RunError) as caught:
        prepare(lambda: iter([table(rows)]), tmp_path / "p", tokenizer=byte_tokenizer, settings=settings)
    problem = caught.value.problem
    assert problem.code == "A816" and problem.headline.startswith("2 rows hold control tokens")
    assert "1 of `x`" in (problem.note or "") and "1 of `made`" in (problem.note or "")


def test_a_run_names_the_step_the_rows_and_the_day(tmp_path: Path) -> None:
    from alchemist_runtime.engine.export_step import _rendered
    from test_chat_forms import plan_of, spec_of

    plan = plan_of(tmp_path, "")
    told = {"reply": {"x": 1}, "special": {"x": 1_000, "y": 2}}
    prepared = {"told": told, "first": {"reply": "ab", "special": "cd"}, "date": "2026-11-30"}
    said = list(_rendered(plan.node("tiny"), spec_of(plan), prepared))
    assert [(p.code, p.headline) for p in said] == [
        ("A817", "`tiny` trains on 1 row whose reply is not in the rendered text (the first is ab)"),
        ("A817", "`tiny` trains on 1,002 rows with control tokens in their own text (the first is cd)"),
        ("A818", "`tiny` is trained with 2026-11-30, the day of the run, in every row"),
    ]
    assert said[1].note == "1,000 of `x`, 2 of `y`"
    pinned = replace(spec_of(plan), date="2026-11-30")
    assert [p.code for p in _rendered(plan.node("tiny"), pinned, prepared)] == ["A817", "A817"]
    assert list(_rendered(plan.node("tiny"), pinned, {})) == []
