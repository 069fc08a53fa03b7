#!/usr/bin/env bash
# transformers 5.23.0, tokenizers 0.23.3: the mask of what the assistant wrote leaves out the end of its last character.
#
# A chat template marks the reply with {% generation %} … {% endgeneration %}, and the token that ends the turn stands behind the
# mark. With a byte-level vocabulary the reply `ok 👍` is seven tokens: `o`, `k`, a space, and the four bytes of the sign.
# Guess: `return_assistant_tokens_mask=True` masks all seven.
# Seen: four. `char_to_token` gives the first token of a character, and apply_chat_template takes it for the last one of the reply,
# so that three of the four bytes are never learnt. Decoded, the mask is `ok ` and half a character:
#   7 tokens, 4 in the mask: 'ok \ufffd'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
core.decoder = decoders.ByteLevel()
core.add_special_tokens(["<|user|>", "<|assistant|>", "<|end|>"])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
tokenizer.chat_template = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
)
reply = "ok \N{THUMBS UP SIGN}"
made = tokenizer.apply_chat_template(
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply}],
    return_dict=True,
    return_assistant_tokens_mask=True,
)
learnt = [t for t, m in zip(made["input_ids"], made["assistant_masks"]) if m]
print(f"{len(reply.encode())} tokens, {len(learnt)} in the mask: {tokenizer.decode(learnt)!a}")
assert len(learnt) == 4 and tokenizer.decode(learnt) == "ok \ufffd", "the mask has changed"
PYTHON
