"""What a training starts from: a tokenizer with its chat template, and weights made here, of a folder, or of the
hub.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alchemist_runtime.schema.codes import Problem, RunError

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import TrainSpec

#: Special tokens of the byte tokenizer, in order, after the 256 bytes.
END: Final = "<|end|>"
_SPECIAL: Final = ("<|pad|>", END, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|tools|>", "<|reserved|>")
BYTE_VOCABULARY: Final = 256 + len(_SPECIAL)

#: The ending of files that hold quantised weights; transformers reads them as a model that is asked.
GGUF: Final = ".gguf"

BYTE_TEMPLATE: Final = """\
{%- if tools %}{{ '<|tools|>' + (tools | tojson) + '<|end|>' }}{% endif -%}
{%- for message in messages -%}
{%- set calls = (message.tool_calls | tojson) if message.tool_calls else '' -%}
{%- set text = (message.content or '') + calls -%}
{%- if message.role == 'assistant' -%}
{{ '<|assistant|>' }}{% generation %}{{ text + '<|end|>' }}{% endgeneration %}
{%- elif message.role in ['system', 'user', 'tool'] -%}
{{ '<|' + message.role + '|>' + text + '<|end|>' }}
{%- else -%}
{{ raise_exception('the byte template knows no role ' + message.role) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif -%}
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Where tokenizer and weights of a training come from. `model` is None where weights are made from `tokenizer`'s
    folder.
    """

    tokenizer: Path  # a folder with the tokenizer and the template that is used; with scratch also config.json
    model: str | None  # a folder or a hub id
    revision: str | None = None


def needs(libraries: Mapping[str, str], what: str) -> None:
    """RunError A910 for the first library, by name with the extra that brings it, that this environment lacks."""
    for library, extra in libraries.items():
        if importlib.util.find_spec(library) is None:
            installed = f"'alchemist-dsl[{extra}]'" if extra else library
            raise RunError(Problem("A910", f"{what} needs the library {library}", help=f"pip install {installed}"))


# --- from scratch -----------------------------------------------------------------------------------------------------


def byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level vocabularies: itself if it prints, else one from 256 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(b if b in printable else next(spare)) for b in range(256)]


def write_byte_tokenizer(folder: Path, context: int) -> None:
    """A tokenizer whose token numbers are the bytes of the text, then the special tokens; the same bytes on every
    machine.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {c: n for n, c in enumerate(byte_characters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in _SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": _SPECIAL[0],
        "additional_special_tokens": list(_SPECIAL[2:]),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(BYTE_TEMPLATE)


def scratch_sizes(args: Mapping[str, Any], max_length: int = 0) -> tuple[int, int, int]:
    """Hidden size, heads and context of a model made here; RunError A808 where they do not fit together, or
    `max_length` not into the context."""
    hidden, heads = int(args.get("hidden", 128)), int(args.get("heads", 4))
    context = int(args.get("context", 2048))
    if heads < 1 or hidden % heads or (hidden // heads) % 2:
        raise _scratch(
            f"a model of hidden = {hidden} cannot have {heads} heads", "hidden / heads must be a whole, even number"
        )
    if max_length > context:
        raise _scratch(
            f"max_length = {max_length:,} is more than the model's context of {context:,} tokens",
            f"write `init = scratch(context = {max_length}, …)` or a smaller `max_length`",
        )
    return hidden, heads, context


def _scratch(headline: str, way_out: str) -> RunError:
    return RunError(Problem("A808", headline, help=way_out), exit_code=1)


def write_scratch_config(folder: Path, args: Mapping[str, Any], dropout: float = 0.0) -> None:
    """The configuration of a small Llama-style model over the byte tokenizer; RunError A808 where the sizes do not
    fit.
    """
    hidden, heads, context = scratch_sizes(args)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": BYTE_VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": int(args.get("intermediate", 384)),
        "num_hidden_layers": int(args.get("layers", 2)),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
        "pad_token_id": 256,
        "eos_token_id": 257,
        "bos_token_id": None,
        "attention_dropout": dropout,
        "dtype": "float32",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def new_weights(folder: Path, seed: int) -> Any:
    """A model with fresh weights after a folder's config.json: the same for the same seed."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        make: Any = AutoModelForCausalLM.from_config
        return make(config, dtype=torch.float32)


def scratch_model(folder: Path, args: Mapping[str, Any], seed: int) -> Path:
    """Write a small model with its byte tokenizer as a folder that `from_pretrained` loads."""
    write_byte_tokenizer(folder, int(args.get("context", 2048)))
    write_scratch_config(folder, args)
    new_weights(folder, seed).save_pretrained(folder)
    return folder


# --- tokenizers and templates -----------------------------------------------------------------------------------------


def load_tokenizer(source: str, revision: str | None = None, **options: Any) -> Any:
    """The fast tokenizer of a folder or hub id; RunError A808 where there is none. `options` are those of
    `from_pretrained`.
    """
    folder = Path(source)
    try:
        if _plain_fast(folder):  # spares the import of torch
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast.from_pretrained(folder)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source, revision=None if folder.is_dir() else revision, **options)
    except (OSError, ValueError, ImportError) as error:
        raise no_model(source, revision, error) from error
    if not tokenizer.is_fast:
        raise no_model(source, revision, ValueError("its tokenizer has no fast (tokenizer.json) form"))
    return tokenizer


def _plain_fast(folder: Path) -> bool:
    if not (folder / "tokenizer.json").is_file() or not (folder / "tokenizer_config.json").is_file():
        return False
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return config.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")


def no_model(source: str, revision: str | None, error: Exception) -> RunError:
    at = f" at revision {revision[:12]}" if revision else ""
    return RunError(
        Problem(
            "A808",
            f"the model `{source}`{at} cannot be loaded",
            note=" ".join(str(error).split())[:300],
            help="check name and revision; without network the model must be in the local cache of the hub",
        )
    )


def _template(spec: TrainSpec, texts: Mapping[str, str], project: Path, base: Any) -> str | None:
    """The chat template that the spec asks for, else the base's own."""
    wanted = spec.chat_template or {}
    if "text" in wanted:
        return texts.get(wanted["text"], wanted["text"])
    if "file" in wanted:
        path = project / wanted["file"]
        try:
            return path.read_text()
        except OSError as error:
            raise RunError(
                Problem(
                    "A801",
                    f"the chat template `{wanted['file']}` cannot be read",
                    place=str(path),
                    note=error.strerror,
                    help="paths are relative to the project's folder",
                ),
                exit_code=1,
            ) from error
    if "model" in wanted:
        local = project / wanted["model"]
        source = str(local) if local.is_dir() else wanted["model"]
        template = load_tokenizer(source, wanted.get("revision")).chat_template
    else:
        template = base.chat_template
    # a tokenizer may hold several templates by name
    return template.get("default") if isinstance(template, dict) else template


def prepare_start(
    spec: TrainSpec, folder: Path, *, base_dir: Path | None, project: Path, texts: Mapping[str, str]
) -> tuple[Start, Any]:
    """Write tokenizer, template and (with scratch) configuration to `folder`; returns where things are, and the
    tokenizer.
    """
    model: str | None = None
    if spec.init.name == "scratch":
        write_byte_tokenizer(folder, int(spec.init.args.get("context", 2048)))
        write_scratch_config(folder, spec.init.args, float(Fraction(spec.dropout or 0)))
        tokenizer = load_tokenizer(str(folder))
    else:
        model = str(base_dir) if base_dir is not None else located(spec.base, project)
        tokenizer = load_tokenizer(model, spec.revision)
    template = _template(spec, texts, project, tokenizer)
    if not template:
        raise RunError(
            Problem(
                "A801",
                f"`{model}` has no chat template and none is declared",
                help='add `chat_template = "…"`: a template, a file, or a model that has one',
            ),
            exit_code=1,
        )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return Start(folder, model, spec.revision), tokenizer


def located(name: str | None, project: Path) -> str:
    """The path of a model that lies in the project, else the id of one of the hub. RunError A808 for a path where
    nothing is.
    """
    if not name:
        raise RunError(
            Problem(
                "A808",
                "no model to start from is named",
                help="add `base = …`, or `init = scratch()` for a small model made here",
            ),
            exit_code=1,
        )
    local = project / name
    if local.is_dir() or (local.suffix.lower() == GGUF and local.is_file()):
        return str(local)
    if name.startswith((".", "/")):
        raise no_model(name, None, FileNotFoundError("there is no such folder"))
    return name


# --- families of models -----------------------------------------------------------------------------------------------

# Templates for models whose own chat template does not show what the model wrote, and where replies stand in what their
# own templates write. Both are our own writing, after the layouts that the models are known by.

_FOLDER: Final = Path(__file__).parent / "templates"
FAMILIES: Final = tuple(sorted(p.stem for p in _FOLDER.glob("*.jinja")))


def training_template(name: str) -> str:
    """The text of a family's template for training; KeyError for a family that has none."""
    if name not in FAMILIES:
        raise KeyError(name)
    return (_FOLDER / f"{name}.jinja").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where replies stand: behind `open`, up to and with one of `close`. `signs`: what the family's own template
    holds.
    """

    name: str
    signs: tuple[str, ...]
    open: str
    close: tuple[str, ...]

    def replies(self, text: str) -> list[tuple[int, int]] | None:
        """The replies of a rendered conversation, in order; messages that follow each other are one. None where one has
        no end.
        """
        found: list[tuple[int, int]] = []
        at = 0
        while (start := text.find(self.open, at)) >= 0:
            first = start + len(self.open)
            ends = [e + len(c) for c in self.close if (e := text.find(c, first)) >= 0]
            if not ends:
                return None
            at = min(ends)
            if found and found[-1][1] == start:
                first = found.pop()[0]
            found.append((first, at))
        return found


_CHATML: Final = ("<|im_start|>assistant\n", ("<|im_end|>",))
#: The first whose signs all stand in a template is its layout.
LAYOUTS: Final = (
    Layout("qwen3_5", ("<|im_start|>", "</think>", "<function="), *_CHATML),
    Layout("qwen3", ("<|im_start|>", "</think>"), *_CHATML),
    Layout(
        "gpt_oss",
        ("<|start|>", "<|channel|>", "<|message|>"),
        "<|start|>assistant",
        ("<|end|>", "<|return|>", "<|call|>"),
    ),
    Layout("phi3", ("<|assistant|>", "<|end|>"), "<|assistant|>\n", ("<|end|>",)),
    Layout("deepseek", ("<｜Assistant｜>", "<｜User｜>"), "<｜Assistant｜>", ("<｜end▁of▁sentence｜>",)),
    Layout("nemotron_nano", ("<SPECIAL_11>", "<SPECIAL_12>"), "<SPECIAL_11>Assistant\n", ("<SPECIAL_12>",)),
    Layout(
        "llama3",
        ("<|start_header_id|>", "</think>"),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ("<|eot_id|>", "<|eom_id|>"),
    ),
)


def layout(text: str) -> Layout | None:
    """The layout of a chat template, by what stands in it; None for all others."""
    return next((one for one in LAYOUTS if all(sign in text for sign in one.signs)), None)
