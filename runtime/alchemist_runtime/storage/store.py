"""The content-addressed store: `store/KEY/` holds what a step made, whole or not at all.

A step is written in `store/KEY.tmp/` (kept after a crash: its committed shards are taken up again) and renamed when its
manifest is on disk. Two processes never build one key at a time: `store/KEY.lock`.

What is read back is what was written: a manifest carries its own checksum and the digest of every file, Parquet pages
and arrays carry theirs. A folder is removed only where the store has marked it as its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.sealed import KEY, file_digest, footer_digest, read_array, seal, sealed_array, unseal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from alchemist_runtime.schema.plan import Edge, Node

#: Rows of one shard file, and of one row group in it: what a reader holds of a column at a time.
SHARD_ROWS = 65_536
GROUP_ROWS = 16_384

#: Kinds whose result may hold other rows when it is made again under the same key: they ask teachers.
ASKING = frozenset({"relabel", "generate"})
MANIFEST_FORMAT = 1
MANIFEST = "manifest.json"
#: Marks a folder as one that the store made and may remove.
MARK = ".alchemist-result"
#: Entries that may stand for one another in a row: an entry stands for a finished one, so there is one.
_LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished step left: see `Output.finish` for the fields of `data`."""

    path: Path
    data: Mapping[str, Any]

    @property
    def figures(self) -> Mapping[str, Any]:
        figures: Mapping[str, Any] = self.data["figures"]
        return figures

    def port(self, name: str) -> Mapping[str, Any]:
        port: Mapping[str, Any] = self.data["ports"][name]
        return port

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """Size and digest of every file by name; empty where an earlier version made the result."""
        files: Mapping[str, Mapping[str, Any]] = self.data.get("files", {})
        return files

    def folder(self, name: str) -> Path:
        """A folder of the result, every file of it verified. RunError A907."""
        self.verify(n for n in self.files if n.startswith(f"{name}/"))
        return self.path / name

    def verify(self, names: Iterable[str] | None = None) -> None:
        """Compare files, all without names, with what was written. RunError A907 for the first that differs."""
        for name in self.files if names is None else names:
            wanted, path = self.files[name], self.path / name
            try:
                if path.stat().st_size != wanted["size"]:
                    raise ValueError(f"it has {path.stat().st_size:,} bytes of {wanted['size']:,}")
                if file_digest(path) != wanted["digest"]:
                    raise ValueError("its bytes are not those that were written: the digest differs")
            except (OSError, ValueError) as e:
                raise damaged(self.path, name, e) from e


def outdated(
    nodes: Sequence[Node],
    manifest_of: Callable[[Node], Manifest | None],
    *,
    refused: bool = False,
    fresh: Collection[str] = (),
) -> dict[str, int]:
    """The nodes whose result is there and is made again all the same, with how many of its rows are asked again: calls
    of it failed for a reason that passes (or, with `refused`, their answers were refused), or it was made of rows that
    are other ones now. `fresh`: nodes that were just made."""
    found: dict[str, int] = {}
    asking: dict[str, Manifest | None] = {}  # teacher steps, and what reads them
    for node in nodes:
        inputs = [e for e in node.inputs if e.node in asking]
        if not (inputs or node.kind in ASKING):
            continue
        asking[node.id] = manifest = manifest_of(node)
        if manifest is None:
            continue
        names = ("calls_passing", "calls_refused") if refused else ("calls_passing",)
        rows = 0 if node.id in fresh else sum(manifest.figures.get(n, 0) for n in names)
        read = dict(zip(node.inputs, manifest.data.get("inputs") or (), strict=False))
        if rows or any(e.node in found or _differs(asking[e.node], e, read.get(e)) for e in inputs):
            found[node.id] = rows
    return found


def _differs(manifest: Manifest | None, edge: Edge, read: str | None) -> bool:
    """Whether the rows that come in by an edge are other ones than those that were read."""
    if manifest is None or read is None or edge.role == "model":
        return False
    port = manifest.data["ports"].get(edge.port)
    return port is not None and port["digest"] != read


def looked_at(manifest: Manifest) -> set[int]:
    """Numbers of the edges whose rows a result shows without holding them."""
    ports = manifest.data["ports"].values()
    return {i for p in ports for part in p["parts"] for i in part.get("view", ())}


def left_out(figures: Mapping[str, Any]) -> dict[str, int]:
    """Rows that a step did not pass on, by reason: its rules, what a selection or a limit did not choose, what no class
    holds, what a mixture had over. Rows in = rows out + these - `added`."""
    stay = figures.get("unchanged", {})
    out = {rule: n - stay.get(rule, 0) for rule, n in figures.get("dropped", {}).items()}
    more = {n.replace("_", " "): figures.get(n) or 0 for n in ("not_chosen", "not_asked", "in_no_class", "not_taken")}
    return {reason: n for reason, n in {**out, **more}.items() if n}


def closing(figures: Mapping[str, Any]) -> str:
    """Why a step has other rows than came in, in words; and which answers it refused without leaving a row out."""
    stay = {rule: n for rule, n in figures.get("unchanged", {}).items() if n}
    words = [
        ", ".join(f"{reason} {n:,}" for reason, n in left_out(figures).items()) + found_by(figures),
        ", ".join(f"+ {n:,} {what}" for what, n in figures.get("added", {}).items() if n),
        f"as they were: {', '.join(f'{rule} {n:,}' for rule, n in stay.items())}" if stay else "",
        f"answers that came and were not needed: {figures['beyond']:,}" if figures.get("beyond") else "",
    ]
    return "; ".join(w for w in words if w)


def found_by(figures: Mapping[str, Any]) -> str:
    """How the leaks of a decontamination were found: ` (ngram 38, exact 2; 37 of 164 items)`."""
    leaks = figures.get("leaks")
    if not leaks or not leaks["items"]:
        return ""
    methods = ", ".join(f"{name} {n:,}" for name, n in leaks["methods"].items() if n)
    return f" ({methods}; {figures['items_leaked']:,} of {figures['items']:,} items)"


def trained(prepared: Mapping[str, Any]) -> str:
    """What became of the rows of a training, from the summary of its prepared set: the parts add up to what was read.

    `6,000 rows: 5,667 trained, 1,908 cut at 512 tokens, 333 left out (nothing_to_learn)`"""
    left = {why: sum(n.values()) for why, n in prepared["left_out"].items()}
    cut = sum(prepared.get("cut", {}).values()) + left.pop("truncated", 0)  # as it was called
    held = (prepared.get("eval") or {}).get("rows", 0)
    words = [f"{prepared['rows']:,} trained"]
    if held:
        words.append(f"{held:,} held out")
    if cut:
        words.append(f"{cut:,} cut at {prepared['max_length']:,} tokens")
    if len(left) == 1:
        words += [f"{n:,} left out ({why})" for why, n in left.items()]
    elif left:
        why = ", ".join(f"{why} {n:,}" for why, n in left.items())
        words.append(f"{sum(left.values()):,} left out ({why})")
    return f"{prepared['read']:,} rows: {', '.join(words)}"


def name_of(key: str) -> str:
    """The folder name of a key. RunError A916 for what is no key: it may lead anywhere."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise RunError(
            Problem(
                "A916",
                f"`{str(key)[:80]}` is no key of a step",
                note="a key is `b2:` and 64 hex digits",
                help="compile the recipe again: a plan or a record was written by somebody else, or is damaged",
            )
        )
    return key.removeprefix("b2:")


@dataclass(frozen=True)
class Store:
    """A folder of finished steps by key, with an index from content keys to keys."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "store"

    def path(self, key: str) -> Path:
        return self.folder / name_of(key)

    def manifest(self, key: str) -> Manifest | None:
        """The manifest of a key, following an entry that stands for another one; None if there is none.

        Raises RunError A907 where it cannot be read."""
        for _ in range(_LONGEST_CHAIN):
            path = self.path(key)
            try:
                data, sealed = unseal((path / MANIFEST).read_bytes())
                if isinstance(data, dict) and KEY.fullmatch(str(data.get("same_as"))):
                    key = data["same_as"]
                    continue
                _shaped(data, sealed)
            except FileNotFoundError:
                return None
            except (OSError, ValueError) as e:
                raise damaged(path, MANIFEST, e) from e
            return Manifest(path, data) if data["format"] == MANIFEST_FORMAT else None
        raise damaged(path, MANIFEST, ValueError("it stands for itself"))

    def by_content(self, content_key: str) -> str | None:
        """The key of a finished step with this content key."""
        try:
            key = (self.folder / "by-content" / name_of(content_key)).read_text("utf-8")
            result = self.manifest(key) if KEY.fullmatch(key) else None
        except (OSError, UnicodeDecodeError, RunError):  # it is only an index
            return None
        return key if result is not None and result.data.get("content_key") == content_key else None

    def alias(self, key: str, same_as: str) -> None:
        """Let one key stand for another whose content is equal."""
        path = self.path(key)
        path.mkdir(parents=True, exist_ok=True)
        write_atomic(path / MARK, b"")
        write_atomic(path / MANIFEST, seal({"same_as": same_as}))

    def give_up(self, key: str) -> None:
        """Take a damaged result for one that is not there: the next build of its key replaces it."""
        path = self.path(key)
        if path.is_dir():
            (path / MARK).touch()
            (path / MANIFEST).unlink(missing_ok=True)

    def all_keys(self) -> Iterator[str]:
        """The keys of all results and of what stands for one, sorted."""
        if self.folder.is_dir():
            names = sorted(p.name for p in self.folder.iterdir() if p.is_dir())
            yield from (f"b2:{n}" for n in names if KEY.fullmatch(f"b2:{n}"))

    @contextlib.contextmanager
    def building(self, key: str, step: str) -> Iterator[Output]:
        """The place to build a key in, under its lock. Nothing of it is seen by others before `Output.finish`."""
        from filelock import FileLock

        final = self.path(key)
        with disk_errors(step):
            self.folder.mkdir(parents=True, exist_ok=True)
        with disk_errors(step), FileLock(final.with_suffix(".lock")):
            temporary = final.with_suffix(".tmp")
            temporary.mkdir(exist_ok=True)
            (temporary / MARK).touch()
            for left in temporary.glob("order-*"):  # of a process that was killed
                shutil.rmtree(left)
            yield Output(self, key, step, temporary)


@dataclass
class Output:
    """What a step writes: shards of tables, arrays, the description of its ports, figures."""

    store: Store
    key: str
    step: str
    folder: Path
    ports: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # of the manifest

    def table(self, name: str, schema: pa.Schema) -> TableWriter:
        """A new table of this step, written shard by shard; use as a context manager."""
        return TableWriter(self, name, schema)

    def write_table(self, name: str, table: pa.Table) -> dict[str, Any]:
        """A whole table at once; returns its description."""
        with self.table(name, table.schema) as writer:
            for batch in table.to_batches(max_chunksize=16_384):
                writer.write(batch)
        return writer.description()

    def array(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """A numpy array; returns its file name."""
        import io

        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        point(self.step, "write")
        write_atomic(self.folder / f"{name}.npy", sealed_array(buffer.getvalue()))
        return f"{name}.npy"

    def kept(self, name: str) -> np.ndarray[Any, Any] | None:
        """An array of an interrupted build of this key; None where there is none, or not a whole one."""
        try:
            return read_array(self.folder / f"{name}.npy")  # type: ignore[no-any-return]
        except (OSError, ValueError, EOFError):
            return None

    def finish(self, **data: Any) -> Manifest:
        """Write the manifest last and move the folder to its final place.

        Manifest: format, key, node, kind, content_key, ports {name: {rows, columns, parts, per_origin, digest}},
        figures, files {name: {size, digest, footer of a Parquet file}}."""
        data = {
            "format": MANIFEST_FORMAT,
            "key": self.key,
            "node": self.step,
            "ports": self.ports,
            "figures": self.figures,
            "files": _sums(self.folder),
            **self.more,
            **data,
        }
        point(self.step, "manifest")
        write_atomic(self.folder / MANIFEST, seal(data))
        final = self.store.path(self.key)
        if os.path.lexists(final):
            remove_result(final)
        point(self.step, "rename")
        self.folder.rename(final)
        sync_folder(final.parent)
        point(self.step, "renamed")
        if content_key := data.get("content_key"):
            index = self.store.folder / "by-content"
            index.mkdir(exist_ok=True)
            write_atomic(index / name_of(content_key), self.key.encode())
        return Manifest(final, data)


def _sums(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file of a result, by its name in the folder."""
    out: dict[str, dict[str, Any]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if name in (MARK, MANIFEST):
            continue
        out[name] = {"size": path.stat().st_size, "digest": file_digest(path)}
        if path.suffix == ".parquet" and path.parent == folder:
            out[name]["footer"] = footer_digest(path)
    return out


def _shaped(data: Any, sealed: bool) -> None:
    """ValueError where a manifest has not the fields that everything reads. What has a seal is as it was written."""
    if sealed:
        return
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise ValueError("it is no manifest")
    if "files" in data:
        raise ValueError("it has lost its checksum")
    if data["format"] != MANIFEST_FORMAT:
        return
    ports, figures = data.get("ports"), data.get("figures")
    if not isinstance(ports, dict) or not isinstance(figures, dict):
        raise ValueError("it names no ports or no figures")
    for port in ports.values():
        kinds = {"rows": int, "columns": dict, "parts": list, "digest": str}
        if not isinstance(port, dict) or not all(isinstance(port.get(name), kind) for name, kind in kinds.items()):
            raise ValueError("a port of it is described by something else")
        if not all(isinstance(part, dict) for part in port["parts"]):
            raise ValueError("a port of it is described by something else")


def remove_result(path: Path) -> None:
    """Remove a folder of the store that is marked as such. RunError A906 for anything else."""
    real = path.is_dir() and not path.is_symlink()
    if real and ((path / MARK).is_file() or (path / MANIFEST).is_file()):
        shutil.rmtree(path)
        return
    if real and not any(path.iterdir()):
        path.rmdir()
        return
    raise RunError(
        Problem(
            "A906",
            f"`{path.name[:12]}…` lies where a result belongs and was not written by alchemist, so it is not removed",
            place=str(path),
            help="move it away, then run again",
        )
    )


#: Errors that tell of the file itself. All others (no rights, too many open files, no memory) tell of the moment; what
#: finds the bytes wrong, pyarrow too, has no number.
_OF_THE_FILE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)


def damaged(folder: Path, name: str, error: Exception) -> RunError:
    """A907 for a file of a finished result that cannot be read. Where the file is why, the error knows the result's
    key, so that a run can make it again."""
    why = "it is gone" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
    lost = not isinstance(error, MemoryError) and getattr(error, "errno", None) in _OF_THE_FILE
    return RunError(
        Problem(
            "A907",
            f"the stored result {folder.name[:12]}… {'is damaged: its' if lost else 'is out of reach: its'} `{name}`"
            " cannot be read",
            place=str(folder / name),
            note=why,
            help=(
                "re-run; this result alone is rebuilt" if lost else "fix the cause above and re-run; the result is kept"
            ),
        ),
        damaged=f"b2:{folder.name}" if lost else None,
    )


class TableWriter:
    """Writes one table as Parquet shards of 65,536 rows, each committed by rename; holds one row group at a time."""

    def __init__(self, output: Output, name: str, schema: pa.Schema) -> None:
        self.output, self.name, self.schema = output, name, schema
        self.rows: list[int] = []
        self._pending: list[pa.RecordBatch] = []
        self._waiting = 0
        self._shard: Shard | None = None

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            if self._shard is not None:
                self._shard.abandon()
            return
        if self._waiting or (self._shard is None and not self.rows):
            self._group(self._waiting)
        self._commit()

    def write(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch)
        self._waiting += batch.num_rows
        while self._waiting >= GROUP_ROWS:
            self._group(GROUP_ROWS)

    def _group(self, rows: int) -> None:
        """Write the next row group; a shard that is full is committed."""
        import pyarrow as pa

        table = pa.Table.from_batches(self._pending, schema=self.schema)
        if self._shard is None:
            path = self.output.folder / f"{self.name}-{len(self.rows):05d}.parquet"
            point(self.output.step, "write")
            self._shard = Shard(path, self.schema)
        self._shard.write(table.slice(0, rows))
        rest = table.slice(rows)
        self._pending, self._waiting = rest.to_batches(), rest.num_rows
        if self._shard.rows >= SHARD_ROWS:
            self._commit()

    def _commit(self) -> None:
        if self._shard is not None:
            self.rows.append(self._shard.rows)
            self._shard.commit()
            self._shard = None

    def description(self) -> dict[str, Any]:
        """`{"table": name, "rows": [rows of each shard]}`, as a manifest holds it."""
        return {"table": self.name, "rows": self.rows}


class Shard:
    """One Parquet file that takes its place by rename, with the one setting that all shards share."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.path, self.rows = path, 0
        self._temporary = path.with_name(path.name + ".part")
        self._file = self._temporary.open("wb")
        names = schema.names
        repeated = [n for n in ("origin", "made_by", "rule") if n in names]
        self._writer = pq.ParquetWriter(
            self._file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=repeated or False,
            write_statistics=False,
            write_page_checksum=True,
        )

    def write(self, table: pa.Table) -> None:
        """One row group."""
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
            self.rows += table.num_rows

    def commit(self) -> None:
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self.path)

    def abandon(self) -> None:
        """Let go of a file that will not be finished."""
        for file in (self._writer, self._file):
            with contextlib.suppress(Exception):  # what it could not write is no longer wanted
                file.close()


def write_parquet(path: Path, table: pa.Table) -> None:
    """A table as one shard."""
    shard = Shard(path, table.schema)
    for at in range(0, table.num_rows, GROUP_ROWS):
        shard.write(table.slice(at, GROUP_ROWS))
    shard.commit()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(step: str) -> Iterator[None]:
    """Turn a full disk into RunError A905, and a place that may not be written into A914."""
    try:
        yield
    except OSError as e:
        problem = disk_problem(e, f"`{step}`", step)
        if problem is None:
            raise
        raise RunError(problem) from e


def disk_problem(error: OSError, what: str, step: str | None = None) -> Problem | None:
    """What a failed write tells a person; None where it is no matter of room or rights."""
    place = error.filename if isinstance(error.filename, str) else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem(
            "A905",
            f"there is no space left on the device while {what} was written",
            node=step,
            place=place,
            help="free some space and re-run; finished steps are kept",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return Problem(
            "A914",
            f"{what} cannot be written: {(error.strerror or str(error)).lower()}",
            node=step,
            place=place,
            help="check the permissions of the folder and re-run; finished steps are kept",
        )
    return None


# --- faults ----------------------------------------------------------------------------------------------------------

_SEEN: Counter[str] = Counter()


def point(step: str, place: str) -> None:
    """Pass a place in a step. `ALCHEMIST_FAULT` holds `ACTION@STEP:PLACE:N`, N the count of passes from 1; ACTION is
    `kill` (SIGKILL, as a power cut would), `full` (no space left) or `interrupt` (SIGINT, as Ctrl-C)."""
    fault = os.environ.get("ALCHEMIST_FAULT")
    if not fault:
        return
    name = f"{step}:{place}"
    _SEEN[name] += 1
    action, _, where = fault.partition("@")
    if where not in (f"{name}:{_SEEN[name]}", f"*:{place}:{_SEEN[name]}"):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif action == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
