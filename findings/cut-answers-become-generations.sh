#!/usr/bin/env bash
# distilabel 1.5.3, openai 2.30.0: an answer that was cut or filtered is a generation like any other.
#
# OpenAILLM asks a server. One answer ends with `finish_reason: length`, one with `content_filter`, one is whole.
# Guess: what did not end by itself is None (as a refused structured answer is), or carries the reason.
# Seen: all three are texts, and `statistics` has tokens alone, so no later step can tell them apart:
#   ['def f(x):\n    return x +'], ['I was about'], ['four']; keys: generations, statistics
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'distilabel[openai]==1.5.3' openai==2.30.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from distilabel.models import OpenAILLM

ANSWERS = {"cut": ("def f(x):\n    return x +", "length"), "filtered": ("I was about", "content_filter"), "whole": ("four", "stop")}


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text, finish = ANSWERS[asked["messages"][-1]["content"]]
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        body = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = OpenAILLM(model="m", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
model.load()
found = model.generate(inputs=[[{"role": "user", "content": name}] for name in ANSWERS])
for name, one in zip(ANSWERS, found):
    print(name, one)
assert [one["generations"] for one in found] == [[text] for text, _ in ANSWERS.values()], "cut answers are told apart now"
assert all(set(one) == {"generations", "statistics"} for one in found), "there is more beside the text now"
assert all(set(one["statistics"]) == {"input_tokens", "output_tokens"} for one in found), "the statistics say more now"
PYTHON
