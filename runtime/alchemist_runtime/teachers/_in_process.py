"""A teacher that is a model in this process: loaded at the first question that is not in the call cache, asked in
batches.

Questions that wait at the same time are answered together, padded on the left, in a thread of their own. What is drawn
for a row follows from its call key alone, so an answer does not depend on what else is in the batch, as far as the
arithmetic does not.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from alchemist_runtime.calls import answers
from alchemist_runtime.calls.teacher import CallFailed, Reply, Request, whole
from alchemist_runtime.schema import plan
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.train.base_model import GGUF, load_tokenizer, needs, no_model

#: How long questions that follow one another are gathered before a batch starts.
GATHER_SECONDS: Final = 0.005
#: A yes or a no counts where one of the two is among so many most likely first tokens.
LIKELY: Final = 20
#: Tokens before the end of an answer in which a stop text is looked for, beside its own bytes.
SLACK: Final = 8
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")


# --- the model --------------------------------------------------------------------------------------------------------


class Loaded:
    """A model with its tokenizer, shared by all teachers that name it and kept as long as one of them holds it."""

    def __init__(self, source: str, revision: str | None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        from alchemist_runtime.train.chat import Template

        quiet: Any = logging
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        gpu = torch.cuda.is_available()
        named, options = source, {}
        if Path(source).suffix.lower() == GGUF:
            needs({"gguf": ""}, f"the model `{Path(source).name}`")
            named, options = str(Path(source).parent), {"gguf_file": Path(source).name}
            _without_bar()
        self.tokenizer = load_tokenizer(named, revision, **options)
        if not self.tokenizer.chat_template:
            raise _no_template(source)
        try:
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                named,
                revision=revision,
                dtype="auto" if gpu else torch.float32,
                **options,
                **({"device_map": "auto"} if gpu else {}),
            )
        except Exception as error:
            if out_of_memory(error):
                raise _no_room(source) from error
            raise no_model(source, revision, error) from error
        self.template = Template(self.tokenizer)
        stop = self.template.stop
        reported = [
            self.model.generation_config.eos_token_id,
            self.model.config.eos_token_id,
            self.tokenizer.eos_token_id,
            self.tokenizer.convert_tokens_to_ids(stop) if stop else None,
        ]
        each = (t for some in reported for t in (some if isinstance(some, list) else [some]))
        #: tokens that end an answer: the model's, the tokenizer's, and the one behind a turn of the template
        self.ends = frozenset(t for t in each if isinstance(t, int))
        padding = self.tokenizer.pad_token_id
        self.pad: int = min(self.ends, default=0) if padding is None else padding
        # none of the model's own settings for sampling holds: what is drawn is what the recipe says
        settings: Any = GenerationConfig
        self.model.generation_config = settings(do_sample=False, pad_token_id=self.pad)
        #: most tokens of question and answer together; None where the model has no such limit
        self.context: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self._yes_no: tuple[list[int], list[int]] | None = None

    @property
    def yes_no(self) -> tuple[list[int], list[int]]:
        """The tokens that say yes, and those that say no."""
        if self._yes_no is None:
            words: dict[str, list[int]] = {"yes": [], "no": []}
            for token, number in self.tokenizer.get_vocab().items():
                if any(w in token.lower() for w in words):
                    said = self.tokenizer.decode([number]).strip().lower()
                    words.get(said, []).append(number)
            self._yes_no = words["yes"], words["no"]
        return self._yes_no

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens, without control tokens."""
        result: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return result


_loaded: WeakValueDictionary[tuple[str, str | None], Loaded] = WeakValueDictionary()


def loaded(source: str, revision: str | None) -> Loaded:
    """The model of a folder, a GGUF file or the hub, loaded once. RunError A801, A808, A910."""
    found = _loaded.get((source, revision))
    if found is None:
        needs(dict.fromkeys(("torch", "transformers", "accelerate"), "train"), "`provider = transformers`")
        found = _loaded[source, revision] = Loaded(source, revision)
    return found


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or this machine, has no memory left."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(w in str(error).lower() for w in _OUT_OF_MEMORY)
    )


#: Where a turn that was begun goes on; a template that trims a turn leaves what stands before it.
_HERE: Final = "[[here]]"


def _asked(request: Request) -> list[Mapping[str, str]]:
    turns = answers.with_format(request.messages, request.outputs, request.continues)
    if request.continues:
        turns[-1] = {**turns[-1], "content": turns[-1]["content"] + _HERE}
    return turns


def _without_bar() -> None:
    """Leave out the bar that transformers draws for a GGUF file: it goes through no setting, and over our own lines."""
    from functools import partial

    from transformers import modeling_gguf_pytorch_utils

    gguf: Any = modeling_gguf_pytorch_utils
    gguf.tqdm = partial(gguf.tqdm, disable=True)


def _no_template(source: str) -> RunError:
    return RunError(
        Problem(
            "A801",
            f"the teacher's model `{source}` has no chat template",
            note="without one it is unknown how to prompt it",
            help="use a model that was trained on chats, or put a `chat_template.jinja` beside its tokenizer",
        )
    )


def _no_room(source: str) -> RunError:
    return RunError(
        Problem(
            "A730",
            f"there is not enough memory to load the model `{source}`",
            help="use a smaller model or more memory; for a model behind a server use `provider = openai`",
        )
    )


# --- asking it --------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Row:
    """A question on its way through a batch."""

    request: Request
    future: asyncio.Future[Reply]
    tokens: list[int]
    most: int  # tokens of its answer
    draws: random.Random
    made: list[int] = field(default_factory=list)
    done: bool = False

    @property
    def asks_probability(self) -> bool:
        return answers.is_probability(self.request.outputs)


class InProcess:
    """One teacher's questions to a model in this process."""

    def __init__(self, spec: plan.Teacher) -> None:
        self._spec = spec
        self._model: Loaded | None = None
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._work: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"model of {spec.name}")
        self._closed = False
        #: rows × tokens that a batch may have; None until memory ran out once
        self._room: int | None = None

    async def reply(self, request: Request) -> Reply:
        """The answer, with others that wait at the same time."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer_all())
        return await future

    def rest(self) -> None:
        """Let go of the model; the next question loads it again."""
        from alchemist_runtime.engine.context import give_back

        if self._model is not None:
            self._model = None
            gc.collect()
            _empty_cache()
            give_back()

    async def close(self) -> None:
        """End a batch that nobody waits for after its current token, and let go of the model."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.rest()

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            before = 0
            while before < len(self._waiting) < self._spec.concurrency:
                before = len(self._waiting)
                await asyncio.sleep(GATHER_SECONDS)
            some = self._waiting[: self._spec.concurrency]
            del self._waiting[: len(some)]

            def tell(future: asyncio.Future[Reply], found: Reply | BaseException) -> None:
                loop.call_soon_threadsafe(_settle, future, found)

            await loop.run_in_executor(self._thread, self._answer, some, tell)

    def _answer(self, some: Sequence[tuple[Request, asyncio.Future[Reply]]], tell: Tell) -> None:
        """Answer these questions, each as soon as it is complete. Runs in the thread; raises nothing."""
        try:
            if self._model is None:
                self._model = loaded(str(self._spec.model), self._spec.revision)
            rows = self._rows(self._model, some, tell)
            while rows := [r for r in rows if not r.done and not r.future.done()]:
                if self._closed:
                    return
                part = self._fitting(rows)
                if not self._generate(self._model, part, tell):
                    self._smaller(part, tell)
        except RunError as error:
            self._fail(some, tell, error)
        except Exception as error:
            self._fail(some, tell, _failed(self._spec, error))

    def _fail(self, some: Sequence[tuple[Request, asyncio.Future[Reply]]], tell: Tell, error: RunError) -> None:
        for _, future in some:
            tell(future, error)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _rows(self, model: Loaded, some: Sequence[tuple[Request, asyncio.Future[Reply]]], tell: Tell) -> list[Row]:
        """The questions as tokens, the shortest first; one that leaves no room for an answer is told at once."""
        from alchemist_runtime.train.conversations import Talk

        requested = [_asked(r) for r, _ in some]
        talks = [model.template.fit(Talk([dict(m) for m in a], None, {}, "?")) for a in requested]
        rows = []
        for talk, (request, future) in zip(talks, some, strict=True):
            try:
                (text,), _ = model.template.render([talk], prompt=not request.continues)
            except RunError as error:
                tell(future, CallFailed(f"{error.problem.headline}: {error.problem.note}"))
                continue
            if request.continues:  # what the template puts behind the turn is not there yet
                text = text[: text.rindex(_HERE)] if _HERE in text else text
            tokens = model.tokenizer.encode(text, add_special_tokens=False)
            most = int(self._spec.sampling.get("max_tokens") or 1024)
            if model.context is not None:
                most = min(most, model.context - len(tokens))
            if most < 1:
                reason = f"the question has {len(tokens):,} tokens, and question and answer may have {model.context:,}"
                tell(future, CallFailed(reason, kind="too_long"))
                continue
            rows.append(Row(request, future, tokens, most, random.Random(request.call_key)))
        return sorted(rows, key=lambda r: (r.asks_probability, len(r.tokens)))

    def _fitting(self, rows: Sequence[Row]) -> list[Row]:
        """The first rows that go into one batch."""
        n = sum(r.asks_probability == rows[0].asks_probability for r in rows)
        while n > 1 and self._room is not None and _cells(rows[:n]) > self._room:
            n -= 1
        return list(rows[:n])

    def _smaller(self, part: Sequence[Row], tell: Tell) -> None:
        """After a batch that memory was too small for: the next ones are half as large."""
        gc.collect()
        _empty_cache()
        if len(part) > 1:
            self._room = _cells(part) // 2
            return
        row = part[0]
        row.done = True
        size = f"{len(row.tokens):,} tokens with an answer of up to {row.most:,}"
        reason = f"there is not enough memory for a question of {size}"
        tell(row.future, CallFailed(reason, kind="passing"))  # another machine may have more

    # --- generating ---------------------------------------------------------------------------------------------------

    def _generate(self, model: Loaded, rows: Sequence[Row], tell: Tell) -> bool:
        """Answer these rows together. False where memory ran out: those that are not done are as they were."""
        try:
            self._generated(model, rows, tell)
        except Exception as error:
            if not out_of_memory(error):
                raise
            for row in rows:
                row.made.clear()
                row.draws = random.Random(row.request.call_key)
            return False
        return True

    def _generated(self, model: Loaded, rows: Sequence[Row], tell: Tell) -> None:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        width = max(len(r.tokens) for r in rows)
        padded = [[model.pad] * (width - len(r.tokens)) + r.tokens for r in rows]
        mask = [[0] * (width - len(r.tokens)) + [1] * len(r.tokens) for r in rows]
        probability = rows[0].asks_probability
        draw = _Yes(model, rows, tell) if probability else _Draw(self._spec.sampling, rows)
        watch = _Watch(model, rows, self._spec.sampling.get("stop") or (), tell, lambda: self._closed)
        device = model.model.device
        with torch.inference_mode():
            model.model.generate(
                torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=1 if probability else max(r.most for r in rows),
                logits_processor=LogitsProcessorList([draw]),
                stopping_criteria=StoppingCriteriaList([watch]),
            )


Tell = Callable[[asyncio.Future[Reply], Reply | BaseException], None]


class _Draw:
    """Chooses the next token of each row: the likeliest, or one drawn by a number of the row's own sequence."""

    def __init__(self, sampling: Any, rows: Sequence[Row]) -> None:
        self._temperature = float(Fraction(str(sampling.get("temperature", 1))))
        self._top_p = float(Fraction(str(sampling.get("top_p", 1))))
        self._rows = rows

    def __call__(self, tokens: Any, scores: Any) -> Any:
        import torch

        if bool(torch.isnan(scores).any()):
            raise ValueError("the output of the model is not a number (NaN)")
        if self._temperature == 0:
            return scores
        shares = (scores.double() / self._temperature).softmax(-1)
        if self._top_p < 1:
            ordered, places = shares.sort(dim=-1, descending=True, stable=True)
            left = ordered.cumsum(-1) - ordered >= self._top_p  # the first is always in
            left[:, 0] = False
            shares = shares.masked_fill(left.scatter(-1, places, left), 0)
        edges = shares.cumsum(-1)
        drawn = torch.tensor([[r.draws.random()] for r in self._rows], device=scores.device)
        chosen = torch.searchsorted(edges, drawn.double() * edges[:, -1:], right=True)
        chosen = torch.where(chosen < scores.shape[-1], chosen, shares.argmax(-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter_(-1, chosen, 0.0)


class _Yes:
    """Reads P(yes) / (P(yes) + P(no)) of the first token, over all tokens that say one of the two."""

    def __init__(self, model: Loaded, rows: Sequence[Row], tell: Tell) -> None:
        self._model, self._rows, self._tell = model, rows, tell

    def __call__(self, tokens: Any, scores: Any) -> Any:
        shares = scores.double().softmax(-1)
        likely = shares.topk(min(LIKELY, shares.shape[-1])).indices.tolist()
        yes, no = self._model.yes_no
        for row, mine, near in zip(self._rows, shares, likely, strict=True):
            row.done = True
            said_yes, said_no = float(mine[yes].sum()), float(mine[no].sum())
            if not {*yes, *no}.intersection(near) or not said_yes + said_no > 0:
                reason = "neither yes nor no is among the likely first tokens"
                self._tell(row.future, CallFailed(reason))
                continue
            text = repr(said_yes / (said_yes + said_no))
            self._tell(row.future, Reply(text, len(row.tokens), 1))
        return scores


class _Watch:
    """Sees each row's answer grow, and tells it where it ends: at a control token, a stop text or its most tokens."""

    def __init__(
        self, model: Loaded, rows: Sequence[Row], stops: Sequence[str], tell: Tell, closed: Callable[[], bool]
    ) -> None:
        self._model, self._rows, self._tell, self._closed = model, rows, tell, closed
        control = {s: model.tokenizer.convert_tokens_to_ids(s) for s in stops if s in model.template.control}
        self._ends = model.ends | set(control.values())
        self._stops = [s for s in stops if s not in control]
        self._reach = max((len(s.encode()) for s in self._stops), default=0) + SLACK

    def __call__(self, tokens: Any, scores: Any, **_: Any) -> Any:
        import torch

        for row, token in zip(self._rows, tokens[:, -1].tolist(), strict=True):
            if not row.done:
                row.made.append(token)
                self._look(row, token)
        over = [self._closed() or r.done or r.future.done() for r in self._rows]
        return torch.tensor(over, device=tokens.device)

    def _look(self, row: Row, token: int) -> None:
        if token in self._ends:
            self._end(row, self._model.text(row.made[:-1]), "stop")
        elif (text := self._stopped(row)) is not None:
            self._end(row, text, "stop")
        elif len(row.made) >= row.most:
            self._end(row, self._model.text(row.made), "length")

    def _stopped(self, row: Row) -> str | None:
        """The answer up to the first stop text, None where it has none."""
        if not self._stops:
            return None
        near = self._model.text(row.made[-self._reach :])
        if not any(s in near for s in self._stops):
            return None
        text = self._model.text(row.made)
        places = [at for s in self._stops if (at := text.find(s)) >= 0]
        return text[: min(places)] if places else None

    def _end(self, row: Row, text: str, finish: str) -> None:
        row.done = True
        text = whole(row.request, text)
        self._tell(row.future, Reply(text, len(row.tokens), len(row.made), finish))


def _cells(rows: Sequence[Row]) -> int:
    """Rows × tokens of a batch at its largest."""
    return len(rows) * max(len(r.tokens) + r.most for r in rows)


def _settle(future: asyncio.Future[Reply], found: Reply | BaseException) -> None:
    if future.done():
        return
    if isinstance(found, BaseException):
        future.set_exception(found)
    else:
        future.set_result(found)


def _empty_cache() -> None:
    """Give the device's memory back that torch keeps for later."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _failed(spec: plan.Teacher, error: Exception) -> RunError:
    said = " ".join(str(error).split())[:300]
    return RunError(
        Problem(
            "A730",
            f"the model of `{spec.name}` failed: {type(error).__name__}: {said}",
            help="the answers so far are kept; another model, or another version of torch or transformers, may do",
        )
    )
