"""What `base` of a training and `model` of a teacher name: a folder with a model, or a model of the hub; and what is
wrong with it.
"""

from __future__ import annotations

import posixpath
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from alchemist_dsl.check.chat import MODEL
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.ir import Block, ChoiceV, TextV

#: Endings of the files that `from_pretrained` reads weights and tokenizers from.
_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")
_TOKENIZERS: Final = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece")
_GGUF: Final = (
    "train from the weights that it was made of, or convert it: `AutoModelForCausalLM.from_pretrained(FOLDER, "
    'gguf_file = "FILE").save_pretrained("model")`, the same with AutoTokenizer, then `base = "./model"`'
)


def own_model(block: Block) -> tuple[str, TextV] | None:
    """The attribute of a block that names a model which is loaded here, with its value; None where there is none."""
    provider = block.get("provider")
    asked = isinstance(provider, ChoiceV) and provider.name == "transformers"
    name = "model" if asked else "base"
    value = block.get(name) if asked or block.kind == "train" else None
    return (name, value) if isinstance(value, TextV) else None


def base_folder(base: TextV) -> str | None:
    """The folder that a base names, from the project's root; None where it is the id of a model of the hub.

    A text that begins with `.` or `/` is a folder, relative to the recipe, as the patterns of `files` are.
    """
    if not base.value.startswith((".", "/")):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(base.span.file), base.value))
    return path if path.startswith(("/", "..")) else f"./{path}"


def wrong_base(base: TextV, root: Path, attribute: str = "base") -> Diagnostic | None:
    """A model that no training can start from, or no teacher be: no such folder, no model in it, an adapter alone, and
    for a training a GGUF file."""
    named, folder = base.value, base_folder(base)
    at = root / (folder or named)
    if folder is None and not at.exists():
        if attribute == "base" and re.search(r"[-_.]gguf$", named, re.I):
            return _no_base(base, f"`{named}` is in GGUF format, which nothing is trained from", _GGUF)
        return None if MODEL.fullmatch(named) else _no_folder(base, at, attribute)
    if not at.exists():
        return _no_folder(base, at, attribute)
    if at.is_file():
        if at.suffix.lower() == ".gguf":
            if attribute == "model":
                return None
            return _no_base(base, f"`{named}` is in GGUF format, which nothing is trained from", _GGUF)
        return _no_base(
            base,
            f"`{named}` is a file, and a {attribute} is a folder",
            f'write `{attribute} = "{posixpath.dirname(named) or "."}"`',
        )
    try:
        files = sorted(f.name for f in at.iterdir())
    except OSError as e:
        return _no_base(base, f"`{named}` cannot be read: {e.strerror or e}", "see that you may read it")
    return _no_model(base, files, attribute)


def _no_model(base: TextV, files: list[str], attribute: str) -> Diagnostic | None:
    """What a folder lacks to be a model with its tokenizer."""
    named, has_weights = base.value, any(f.endswith(_WEIGHTS) for f in files)
    gguf = [f for f in files if f.lower().endswith(".gguf")]
    if gguf and not has_weights and attribute == "model":
        return _no_base(
            base, f"`{named}` holds only GGUF files", f'name the file: `model = "{posixpath.join(named, gguf[0])}"`'
        )
    if gguf and not has_weights:
        return _no_base(base, f"`{named}` holds only GGUF files, which nothing is trained from", _GGUF)
    if "config.json" not in files:
        if "adapter_config.json" in files:
            needs = "a training starts from" if attribute == "base" else "a teacher is"
            return _no_base(
                base,
                f"`{named}` is an adapter, and {needs} a whole model",
                "merge it: `PeftModel.merge_and_unload()`, then `save_pretrained`",
            )
        return _no_base(
            base, f"`{named}` holds no model: it has no `config.json`", "name the folder that `save_pretrained` wrote"
        )
    if not has_weights:
        return _no_base(
            base,
            f"`{named}` holds no weights",
            "name the folder that `save_pretrained` wrote, with its `.safetensors` files",
        )
    if not any(f.startswith(_TOKENIZERS) or f.endswith(".model") for f in files):
        return _no_base(
            base, f"`{named}` has no tokenizer", f'save it beside the model: `tokenizer.save_pretrained("{named}")`'
        )
    return None


def _no_folder(base: TextV, at: Path, attribute: str) -> Diagnostic:
    try:
        beside = [p.name for p in at.parent.iterdir() if p.is_dir()]
    except OSError:
        beside = []
    near = get_close_matches(at.name, beside, 1, 0.6)
    if near:
        better = posixpath.join(posixpath.dirname(base.value), near[0])
        return _no_base(base, f"no folder `{base.value}`", f'did you mean `{attribute} = "{better}"`?')
    ways = "write a folder, relative to the recipe, or the name of a model of the hub, `owner/name`"
    return _no_base(base, f"no folder `{base.value}`", ways)


def _no_base(base: TextV, headline: str, help_: str) -> Diagnostic:
    return Diagnostic("A812", headline, base.span, help=help_)
