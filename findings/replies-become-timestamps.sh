#!/usr/bin/env bash
# datasets 5.2.0, pyarrow 26.0.1: a text column of JSON lines whose values all look like dates is no text column.
#
# A set of questions "when was …?" has replies such as "1969-07-20", in quotes.
# Guess: the column is text, since JSON has no other way to write one.
# Seen: a timestamp. What a chat template prints is the time of day with it; with one other reply in the file, the column is text.
#   1969-07-20 00:00:00, of type timestamp[s]; beside "unknown": 1969-07-20, of type string
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
export HF_HOME="$folder/home" HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

from datasets import load_dataset


def read(name: str, replies: list[str]) -> tuple[str, str]:
    Path(name).write_text("".join(json.dumps({"reply": r}) + "\n" for r in replies))
    found = load_dataset("json", data_files=name, split="train")
    return str(found[0]["reply"]), found.features["reply"].dtype


alone, beside = read("dates.jsonl", ["1969-07-20", "1989-11-09"]), read("mixed.jsonl", ["1969-07-20", "unknown"])
print("{}, of type {}; beside \"unknown\": {}, of type {}".format(*alone, *beside))
assert alone == ("1969-07-20 00:00:00", "timestamp[s]") and beside == ("1969-07-20", "string"), "dates stay as they are now"
PYTHON
