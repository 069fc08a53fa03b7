#!/usr/bin/env bash
# bespokelabs-curator 0.1.31, litellm 1.83.7: an answer that reaches its token limit is bought eleven times, and then the run fails.
#
# Two rows are asked. The server charges every answer; one always ends with `finish_reason: length`, as it would again and again.
# Guess: the cut answer is kept or refused, once, and the other row is returned.
# Seen: `length` counts as a failure that may pass, with 10 retries by default: 11 requests for that row, 1 for the other, then a
# ValueError, so that the row that was answered is not returned either. Before any row, the constructor sends a request of its own,
# without messages, to read the server's limits:
#   requests: {'(no messages)': 1, 'cut': 11, 'whole': 1}; ValueError: Some requests failed and require_all_responses is True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet bespokelabs-curator==0.1.31 litellm==1.83.7
# tokens are counted before anything is asked; litellm carries the vocabulary that would be fetched for it
tokens=$("$folder/venv/bin/python" -c 'from importlib.util import find_spec; from pathlib import Path; print(Path(find_spec("litellm").origin).parent / "litellm_core_utils/tokenizers")')
export TIKTOKEN_CACHE_DIR=$tokens CURATOR_CACHE_DIR=$folder/cache TELEMETRY_ENABLED=false CURATOR_VIEWER=0 HF_HUB_OFFLINE=1 OPENAI_API_KEY=none
"$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import collections
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bespokelabs.curator import LLM
from datasets import Dataset

requests = collections.Counter()


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = asked["messages"][-1]["content"] if asked["messages"] else "(no messages)"
        requests[question] += 1
        finish = "length" if question == "cut" else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": "an answer"}, "finish_reason": finish}
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        body = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Ask(LLM):
    def prompt(self, row):
        return row["question"]

    def parse(self, row, answer):
        return {**row, "answer": answer}


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
options = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "max_requests_per_minute": 100_000, "max_tokens_per_minute": 10**8}
ask = Ask(model_name="m", backend="openai", backend_params=options)
said = ""
try:
    ask(Dataset.from_list([{"question": "cut"}, {"question": "whole"}]))
except ValueError as error:
    said = str(error).splitlines()[0]
print(f"requests: {dict(requests)}; ValueError: {said}")
assert requests == {"(no messages)": 1, "cut": 11, "whole": 1}, "cut answers are bought another number of times now"
assert said.startswith("Some requests failed and require_all_responses is True"), "the run ends otherwise now"
PYTHON
