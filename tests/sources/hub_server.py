"""A small stand-in of the hub: datasets and models with several commits, gated ones, and the endpoints that the client
library asks for.

It knows commits and the branch `main`, plain files (no LFS, no Xet), and counts what it served.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """`repos`: dataset id -> commits in order, each a mapping of path to bytes; the last one is `main`."""

    repos: dict[str, list[Mapping[str, bytes]]]
    gated: frozenset[str] = frozenset()
    served: list[str] = field(default_factory=list)
    url: str = ""
    failing: bool = False
    tags: dict[str, int] = field(default_factory=dict)  # name -> number of a commit, in any repository
    asked: list[str] = field(default_factory=list)  # requests of the API

    def commits(self, repo: str) -> list[str]:
        """The 40-digit names of a repository's commits."""
        return [hashlib.sha1(f"{repo} {i}".encode()).hexdigest() for i in range(len(self.repos[repo]))]

    def tree(self, repo: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        names = self.commits(repo)
        if revision in ("main", "refs/heads/main"):
            revision = names[-1]
        if revision in self.tags:
            revision = names[self.tags[revision]]
        return (revision, self.repos[repo][names.index(revision)]) if revision in names else None


def card(readme: bytes) -> dict[str, str]:
    """What the head of a README says of the licence."""
    head = readme.decode().split("---\n")[1:2]
    lines = [line.partition(":") for line in "".join(head).splitlines()]
    return {key: value.strip() for key, _, value in lines if key.startswith("license")}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.failing:
            return self.say(503, b"busy")
        for kind in ("/api/datasets/", "/api/models/"):
            if path.startswith(kind):
                return self.api(path.removeprefix(kind).split("/"))
        if path.startswith("/datasets/"):
            return self.resolve(path.removeprefix("/datasets/").split("/"))
        if path.split("/")[3:4] == ["resolve"]:
            return self.resolve(path.removeprefix("/").split("/"))
        return self.say(404, b"", {"X-Error-Code": "RepoNotFound"})

    def known(self, repo: str) -> bool:
        if repo in self.hub.gated:
            self.say(401, b"gated", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            return False
        if repo not in self.hub.repos:
            self.say(401, b"no such repository", {"X-Error-Code": "RepoNotFound"})
            return False
        return True

    def api(self, parts: list[str]) -> None:
        self.hub.asked.append("/".join(parts))
        repo, rest = "/".join(parts[:2]), parts[2:]
        if not self.known(repo):
            return None
        revision = "/".join(rest[1:]) if rest[:1] == ["revision"] else rest[1] if rest[:1] == ["tree"] else "main"
        found = self.hub.tree(repo, revision)
        if found is None:
            return self.say(404, b"", {"X-Error-Code": "RevisionNotFound"})
        commit, files = found
        if rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": p, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for p, data in sorted(files.items())
            ]
            return self.json(entries)
        siblings = [{"rfilename": p} for p in sorted(files)]
        return self.json(
            {
                "id": repo,
                "sha": commit,
                "private": False,
                "gated": False,
                "downloads": 0,
                "tags": [],
                "siblings": siblings,
                "cardData": card(files.get("README.md", b"")),
            }
        )

    def resolve(self, parts: list[str]) -> None:
        repo, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if not self.known(repo):
            return None
        found = self.hub.tree(repo, revision)
        if found is None:
            return self.say(404, b"", {"X-Error-Code": "RevisionNotFound"})
        commit, files = found
        if path not in files:
            return self.say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        if self.command == "GET":
            self.hub.served.append(f"{commit[:8]} {path}")
        etag = hashlib.sha1(files[path]).hexdigest()
        return self.say(200, files[path], {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"})

    def json(self, value: object) -> None:
        self.say(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def say(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
