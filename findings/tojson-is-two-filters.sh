#!/usr/bin/env bash
# transformers 5.23.0, jinja2 3.1.6: `tojson` in a chat template gives another text where jinja2 itself renders the template.
#
# A template prints the tools with {{ tools | tojson }}. A trainer renders it with transformers, a gateway or a notebook with jinja2.
# Guess: both print the same JSON, since the template and the library are the same.
# Seen: transformers puts a filter of its own in its place. jinja2's sorts the keys and writes `<`, `>`, `&` and `'` as escapes, so
# that a model is asked in other tokens than it was trained on, from the same file:
#   transformers: [{"name": "less", "description": "whether a < b, isn't it"}]
#   jinja2:       [{"description": "whether a \u003c b, isn\u0027t it", "name": "less"}]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3 jinja2==3.1.6
"$folder/venv/bin/python" - <<'PYTHON'
from jinja2 import Environment
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

template = "{{ tools | tojson }}"
tools = [{"name": "less", "description": "whether a < b, isn't it"}]
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, "?")))
asked = [{"role": "user", "content": "Which is less?"}]
ours = tokenizer.apply_chat_template(asked, tools=tools, chat_template=template, tokenize=False)
plain = Environment().from_string(template).render(tools=tools)
print(f"transformers: {ours}\njinja2:       {plain}")
assert ours == '[{"name": "less", "description": "whether a < b, isn\'t it"}]', "transformers' filter has changed"
assert plain == '[{"description": "whether a \\u003c b, isn\\u0027t it", "name": "less"}]', "jinja2's filter has changed"
PYTHON
