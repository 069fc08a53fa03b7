"""Rows from a dataset on the hub, at one commit: the repository's files are fetched first and then read as local files.

`datasets` tells which files make a configuration and a split, from the snapshot's folder and never by the repository's
name: its offline mode ignores the revision that it is asked for. JSON, CSV, Parquet and Arrow are read by our own
readers, so that a text that looks like a date stays a text and every row has a place.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from alchemist_runtime.formats.files import ENDINGS, PACKED, format_of, items, read
from alchemist_runtime.formats.records import CHUNK, Chunk, Where
from alchemist_runtime.schema.codes import SAID_NO, Problem, RunError
from alchemist_runtime.schema.registry import source

Kind: TypeAlias = Literal["dataset", "model"]
#: Seconds that the hub has for an answer about a repository.
_PATIENCE: Final = 20.0
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
#: What a snapshot needs for its rows; images, weights and scripts stay where they are.
_WANTED: Final = ["*.md", *(f"*{e}{p}" for e in [*ENDINGS, ".txt"] for p in ["", *PACKED])]


@source()
def hub(
    where: Where,
    *,
    repo: str,
    revision: str,
    config: str = "",
    split: list[str] = ["train"],  # noqa: B006  read only: the default that the language shows
    files: list[str] = [],  # noqa: B006
    format: str = "",
) -> Iterator[Chunk]:
    """A dataset of the Hugging Face hub, at one commit: its splits, or the files that patterns name."""
    commit = revision if _COMMIT.fullmatch(revision) else resolve_revision(repo, revision, node=where.node)
    with _explained(repo, commit, where.node):
        folder = _snapshot(repo, commit, files)
    if files:
        yield from _files(folder, repo, commit, files, format, where)
    else:
        for name in split:
            yield from _split(folder, repo, commit, config, name, where)


def resolve_revision(repo: str, ref: str | None = None, *, node: str | None = None) -> str:
    """The commit (40 hex digits) that a branch or tag of a dataset stands at now; `main` without one. RunError A306,
    A309, A310.
    """
    return facts(repo, ref, node=node)["revision"]


def facts(repo: str, ref: str | None = None, *, kind: Kind = "dataset", node: str | None = None) -> dict[str, str]:
    """What the hub says of a dataset or model: `revision` (as `resolve_revision`) and `license` of its card, "" where
    it has none.
    """
    from huggingface_hub import HfApi

    with _explained(repo, ref or "main", node, kind):
        api = HfApi()
        info = (
            api.dataset_info(repo, revision=ref or "main", timeout=_PATIENCE)
            if kind == "dataset"
            else api.model_info(repo, revision=ref or "main", timeout=_PATIENCE)
        )
    assert info.sha is not None, "the hub names a commit for every revision"
    return {"revision": info.sha, "license": _license(info.card_data)}


def _license(card: Any) -> str:
    """The licence that a card states: an identifier, the name of one that has none, or several."""
    stated = None if card is None else card.get("license")
    named = None if card is None else card.get("license_name")
    found = named if stated in (None, "other") and named else stated
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found or "")


def cached_model(name: str, ref: str | None = None) -> str | None:
    """The commit of a model in the local cache of the hub: what a run without network would load."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            found = try_to_load_from_cache(name, file, revision=ref or "main")
            if isinstance(found, str):
                return Path(found).relative_to(_snapshots(Path(found))).parts[0]
    except HFValidationError:
        return None
    return None


def _snapshots(file: Path) -> Path:
    return next(p for p in file.parents if p.name == "snapshots")


# --- fetching ---------------------------------------------------------------------------------------------------------


def _snapshot(repo: str, commit: str, files: list[str]) -> Path:
    """The folder of a commit's files, fetched where they are not there yet; the library checks that it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    patterns = ["README.md", *files] if files else _WANTED
    return Path(snapshot_download(repo, repo_type="dataset", revision=commit, allow_patterns=patterns))


@contextmanager
def _explained(repo: str, revision: str, node: str | None, kind: Kind = "dataset") -> Iterator[None]:
    """Turn the library's exceptions into problems with a way out."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError as e:
        raise _unknown(
            f"`{repo}` has no revision `{revision}`", f"look at the {kind}'s history on the hub", node
        ) from e
    except errors.LocalEntryNotFoundError as e:
        raise _unreachable(repo, e, node) from e
    except errors.HfHubHTTPError as e:
        status = getattr(getattr(e, "response", None), "status_code", None)
        if status in (401, 403, 404) or isinstance(e, errors.RepositoryNotFoundError):
            raise _gated(repo, status, node, kind) from e
        raise _unreachable(repo, e, node) from e
    except errors.HFValidationError as e:
        raise _unknown(f"`{repo}` is no {kind} id", "write it as `owner/name`", node) from e
    except (httpx2.HTTPError, OSError, RuntimeError) as e:
        if _is_full(e):
            raise
        raise _unreachable(repo, e, node) from e


def _is_full(error: Exception) -> bool:
    import errno

    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def _gated(repo: str, status: int | None, node: str | None, kind: Kind) -> RunError:
    token = "" if os.environ.get("HF_TOKEN") else " (`HF_TOKEN` is not set)"
    return RunError(
        Problem(
            "A306",
            f"the hub refuses `{repo}` ({status or f'no such {kind}'})",
            node=node,
            help=f"log in{token} and accept the conditions on the {kind}'s page; a wrong name gives the same answer",
        )
    )


def _unreachable(repo: str, error: Exception, node: str | None) -> RunError:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    why = "the machine is set to offline (`HF_HUB_OFFLINE`)" if offline else f"{endpoint} does not answer"
    first = str(error).strip().split("\n")[0][:200]
    return RunError(
        Problem(
            "A309",
            f"`{repo}` cannot be fetched: {why}",
            node=node,
            note=f"{type(error).__name__}: {first}" if first else None,
            help="check the network and re-run; downloads are cached",
        )
    )


def _unknown(headline: str, help_: str, node: str | None) -> RunError:
    return RunError(Problem("A310", headline, node=node, help=help_), exit_code=SAID_NO)


# --- reading ----------------------------------------------------------------------------------------------------------


def _files(folder: Path, repo: str, commit: str, patterns: list[str], format_: str, where: Where) -> Iterator[Chunk]:
    """The records of the files that the patterns name, in the order of their paths."""
    inside = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    for pattern in patterns:
        if not fnmatch.filter(inside, pattern):
            some = ", ".join(inside[:5]) or "none that match"
            raise _unknown(
                f"`{pattern}` matches no file of `{repo}` at {commit[:12]}", f"its files: {some}", where.node
            )
    for path in inside:
        if not any(fnmatch.fnmatch(path, p) for p in patterns):
            continue
        kind = format_ or format_of(path)
        if kind is None:
            problem = Problem(
                "A303",
                f"the type of `{path}` in `{repo}` is not supported",
                node=where.node,
                help="jsonl, json, csv, parquet and arrow are, also .gz and .zst; say which with `format`",
            )
            raise RunError(problem, exit_code=SAID_NO)
        yield from read(folder / path, f"{repo}/{path}", kind)


def _split(folder: Path, repo: str, commit: str, config: str, split: str, where: Where) -> Iterator[Chunk]:
    """The records of one split: which files it has is told by `datasets`, and what our readers do not know it reads,
    too.
    """
    import datasets

    datasets.logging.set_verbosity_error()
    try:
        builder = datasets.load_dataset_builder(str(folder), name=config or None)
        splits: dict[str, list[str]] = dict(builder.config.data_files or {})
    except (ValueError, datasets.exceptions.DatasetsError, OSError) as e:
        headline = f"`{repo}` at {commit[:12]} cannot be opened: {_sentence(e)}"
        raise _unknown(headline, "set `config`, or name its data files with `files`", where.node) from e
    if split not in splits:
        have = ", ".join(f"`{s}`" for s in splits)
        headline = f"`{repo}` at {commit[:12]} has no split `{split}`"
        raise _unknown(headline, f"it has {have}", where.node)
    paths = [Path(p) for p in splits[split]]
    if all(p.is_relative_to(folder) and format_of(p.name) for p in paths):
        for path in paths:
            displayed = f"{repo}/{path.relative_to(folder).as_posix()}"
            yield from read(path, displayed, format_of(path.name) or "")
    else:
        yield from _streamed(folder, repo, commit, config, split, where)


def _streamed(folder: Path, repo: str, commit: str, config: str, split: str, where: Where) -> Iterator[Chunk]:
    """The records of one split as `datasets` streams them from the snapshot."""
    import datasets

    from alchemist_runtime.formats.tables import records

    displayed = f"{repo} {config + ' ' if config else ''}{split}"
    at = 1
    try:
        rows: Any = datasets.load_dataset(str(folder), name=config or None, split=split, streaming=True)
        for batch in rows.with_format("arrow").iter(batch_size=CHUNK):
            yield from items(records(batch), displayed, "row", at)
            at += batch.num_rows
    except (ValueError, datasets.exceptions.DatasetsError, OSError, RuntimeError) as e:
        headline = f"`{repo}` at {commit[:12]} cannot be read: {_sentence(e)}"
        problem = Problem("A312", headline, node=where.node, help="name its data files with `files`")
        raise RunError(problem) from e


def _sentence(error: Exception) -> str:
    """The first line of somebody else's message, without the paths of this machine."""
    text = str(error).strip().split("\n")[0]
    return re.sub(r"(?:file://)?/\S*/snapshots/[0-9a-f]{40}/?", "", text)[:300] or type(error).__name__
