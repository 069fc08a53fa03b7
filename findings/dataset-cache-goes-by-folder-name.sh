#!/usr/bin/env bash
# datasets 5.2.0: load_dataset of one folder gives the rows of another one that has the same name and the same card.
#
# Two projects write their training rows to a folder `out`, each with a README.md whose `configs` name the files, as the hub wants it.
# Guess: `load_dataset("second/out")` gives the rows of the second folder; what was cached for the first does not fit.
# Seen: the rows of the first. The cache goes by the last part of the path, and the configuration's fingerprint by the patterns that the
# card names, not by the files that they match. Rows written anew into the same folder are not seen either:
#   first: one   second: one   first, written anew: one
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0
export HF_HOME="$folder/home" HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

from datasets import load_dataset

CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train.jsonl\n---\n"


def written(folder: str, text: str) -> str:
    place = Path(folder)
    (place / "data").mkdir(parents=True, exist_ok=True)
    (place / "README.md").write_text(CARD)
    (place / "data/train.jsonl").write_text(json.dumps({"text": text}) + "\n")
    return load_dataset(folder, split="train")[0]["text"]


found = [written("first/out", "one"), written("second/out", "two"), written("first/out", "three")]
print("first: {}   second: {}   first, written anew: {}".format(*found))
assert found == ["one", "one", "one"], "the cache looks at the files now"
PYTHON
