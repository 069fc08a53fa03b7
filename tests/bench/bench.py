"""What users wait for: start-up times beside the goals, an editor's keystrokes and checks of long recipes, and a
pipeline of 20,000 rows beside the same work with `datasets`.

`python bench.py [ROWS] [--runs N] [--only start-up|editor|pipeline]`. It prints figures and asserts nothing about time:
only ratios within one run travel between machines. A peer that is not installed is printed as missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from editor_bench import editor
from measure import Usage, measure, median

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
#: Workloads are made once and kept; `build/` is ignored by git.
KEPT = REPO / "build" / "bench"
SOURCES = {"alpha": "40%", "beta": "30%", "gamma": "20%", "delta": "10%"}
THRESHOLD = 0.7
TEMPLATE = '''
    ### Instruction ({{ lang }})
    {{ instruction | trim }}

    ### Response
    {{ response | trim }}
    """
'''


def alchemist(*arguments: str | Path) -> list[str | Path]:
    """The command line, as a user types it."""
    script = Path(sys.executable).with_name("alchemist")
    if script.exists():
        return [script, *arguments]
    return [sys.executable, "-c", "from alchemist_dsl.cli.main import main; main()", *arguments]


# --- start-up ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Goal:
    """A command, the CPU seconds it may take, and what users of other tools wait for (wall seconds)."""

    name: str
    arguments: tuple[str, ...]
    cpu: float
    peers: str


QUICKSTART = "recipes/quickstart.recipe"
GOALS = (
    Goal("--help", ("--help",), 0.10, "distilabel 0.2, Data Designer 0.7, Snakemake 0.9, dbt 2.0, axolotl 3.5"),
    Goal("check", ("check", QUICKSTART), 0.30, "Snakemake -n 1.3, Data Designer validate 2.3"),
    Goal("textconv", ("textconv", QUICKSTART), 0.20, "git starts it twice for every file of a diff"),
    Goal(
        "diff, two revisions",
        ("diff", f"HEAD~1:{QUICKSTART}", f"HEAD:{QUICKSTART}"),
        0.50,
        "no other tool says what a change costs",
    ),
    Goal("compile", ("compile", QUICKSTART), 0.55, "SQLMesh plan 4.8 / 3.7, dbt compile 5.2 / 4.0"),
    Goal(
        "run, nothing to do",
        ("run", QUICKSTART),
        0.8,
        "distilabel dry run 5.5, Data-Juicer 10 rows 5.5, axolotl 10 rows 25",
    ),
)


def start_up(runs: int) -> None:
    """CPU seconds of whole processes, median, of the quickstart recipe in a folder of its own."""
    print("Start-up: CPU seconds of the whole process, median of", runs)
    print(f"  {'command':20} {'CPU s':>6} {'goal':>6} {'wall s':>7}   peers, wall s")
    with tempfile.TemporaryDirectory(prefix="alchemist-bench-") as folder:
        project = Path(folder)
        shutil.copytree(REPO / "recipes", project / "recipes")
        two_revisions(project)
        for goal in GOALS:
            print(f"  {goal.name:20} {_start_up_figures(goal, project, runs)}   {goal.peers}", flush=True)


def two_revisions(project: Path) -> None:
    """A repository with a lock, as projects are, in which the quickstart recipe was changed once: a draw grew."""
    recipe = project / QUICKSTART
    text = recipe.read_text("utf-8")
    changed = text.replace("select = 8%", "select = 10%")
    assert changed != text
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run([*git, "init", "-q"], cwd=project, check=True)
    measure(alchemist("lock", QUICKSTART), project, memory=False)
    subprocess.run([*git, "add", "recipes", "recipe.lock"], cwd=project, check=True)
    subprocess.run([*git, "commit", "-qm", "before"], cwd=project, check=True)
    recipe.write_text(changed, "utf-8")
    subprocess.run([*git, "commit", "-qam", "after"], cwd=project, check=True)


def _start_up_figures(goal: Goal, project: Path, runs: int) -> str:
    command = alchemist(*goal.arguments)
    # once before: compiled bytecode, file digests, and for `run` everything that there is to do
    first = measure(command, project, memory=False)
    if first.code:
        return f"{'fails':>6} {goal.cpu:6.2f} {'':7} ({_last_line(first)})"
    used = [measure(command, project, memory=False) for _ in range(runs)]
    if any(u.code for u in used):
        return f"{'fails':>6} {goal.cpu:6.2f} {'':7}"
    cpu, wall = median([u.cpu for u in used]), median([u.wall for u in used])
    return f"{cpu:6.2f} {goal.cpu:6.2f} {wall:7.2f}"


def _last_line(usage: Usage) -> str:
    return next((line for line in reversed(usage.output.splitlines()) if line.strip()), "no output")


# --- the pipeline -----------------------------------------------------------------------------------------------------


def pipeline_recipe() -> str:
    """The pipeline of the bench, in the language."""
    sources = "".join(f'source {name} {{\n  files = "{name}.jsonl"\n  set record = id\n}}\n' for name in SOURCES)
    takes = "".join(f"    templated.{name} = {share}\n" for name, share in SOURCES.items())
    return f'''edition 2026

recipe {{
  title = "bench pipeline"
  seed = 7
}}
{sources}suite problems {{
  files = "bench.jsonl"
  id = "task_id"
  text = [
    "prompt",
    "solution",
  ]
}}
filter sound {{
  from = [
{"".join(f"    {name},{chr(10)}" for name in SOURCES)}  ]
  drop chars(response) < 200 as too_short
  drop lang == "python" and not parses(code(response), "python") as broken_code
}}
dedup unequal {{
  from = sound
  method = exact()
}}
dedup unlike {{
  from = unequal
  method = minhash(ngram = 5, permutations = 128, threshold = {THRESHOLD})
}}
decontaminate safe {{
  from = unlike
  against = problems
  method = ngram(n = 10)
}}
map templated {{
  from = safe
  set prompt = jinja"""{TEMPLATE.rstrip(chr(10))}
}}
mixture mixed {{
  unit = rows
  take {{
{takes}  }}
}}
export done {{
  data = mixed
  path = "done"
  columns = [
    "record",
    "prompt",
  ]
}}
'''


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    needs: str | None  # package


OURS = Contender("alchemist", None)
PEERS = (Contender("datasets + rensa", "rensa"), Contender("datasets + datasketch", "datasketch"))


def pipeline(rows: int, runs: int) -> None:
    """The same work by alchemist and by its peers, in turns."""
    data = workload(rows)
    installed = [p for p in PEERS if _installed("datasets") and _installed(str(p.needs))]
    print(
        f"\nPipeline of {rows:,} rows, median of {runs}, in turns; recall of planted pairs at Jaccard >= {THRESHOLD + 0.05:.2f}"
    )
    print(f"  {'':22} {'wall s':>7} {'CPU s':>7} {'rows/s':>7} {'peak MiB':>9} {'rows out':>9} {'recall':>7}")
    results: dict[str, Made] = {c.name: [] for c in (OURS, *installed)}
    for _ in range(runs):
        for contender in (OURS, *installed):
            results[contender.name].append(_one(contender, data))
    for contender in (OURS, *PEERS):
        _print_row(contender, results.get(contender.name), rows)
    for peer, aim in zip(PEERS, (1.3, 2.0), strict=True):
        if _all_well(results.get(OURS.name)) and _all_well(results.get(peer.name)):
            wall, cpu = _ratios(results[OURS.name], results[peer.name])
            print(
                f"  alchemist does {wall:.2f} times the rows/s of {peer.name} (goal at 20,000 rows: {aim}), with {cpu:.2f} times less CPU"
            )


Made = list[tuple[Usage, int, float]]


def _all_well(made: Made | None) -> bool:
    return made is not None and not any(u.code for u, _, _ in made)


def _ratios(ours: Made, peer: Made) -> tuple[float, float]:
    """How much longer the peer takes, wall and CPU seconds; of the medians."""
    (a, b), (c, d) = (
        (median([u.wall for u, _, _ in made]), median([u.cpu for u, _, _ in made])) for made in (ours, peer)
    )
    return c / a, d / b


def _print_row(contender: Contender, made: Made | None, rows: int) -> None:
    if made is None:
        print(f"  {contender.name:22} missing: {contender.needs} or datasets is not installed")
        return
    if not _all_well(made):
        bad = next(u for u, _, _ in made if u.code)
        print(f"  {contender.name:22} fails: {_last_line(bad)}")
        return
    wall, cpu = median([u.wall for u, _, _ in made]), median([u.cpu for u, _, _ in made])
    peak = max(u.peak_mib for u, _, _ in made)
    _, out, recall = made[0]
    print(f"  {contender.name:22} {wall:7.1f} {cpu:7.1f} {rows / wall:7,.0f} {peak:9,.0f} {out:9,} {recall:7.2%}")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def workload(rows: int) -> Path:
    """The folder with the data, made where it is not there yet."""
    folder = KEPT / f"workload-{rows}"
    if not (folder / "truth.jsonl").exists():
        print(f"making a workload of {rows:,} rows from code of this machine …", file=sys.stderr)
        work = measure([sys.executable, HERE / "make_workload.py", str(rows), folder], _made(KEPT))
        if work.code:
            sys.exit(f"make_workload.py failed:\n{work.output}")
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _one(contender: Contender, data: Path) -> tuple[Usage, int, float]:
    """Run once, from nothing; usage, rows that came out, recall."""
    with tempfile.TemporaryDirectory(prefix="alchemist-bench-") as name:
        folder = Path(name)
        if contender is OURS:
            for file in data.glob("*.jsonl"):
                _link(file, folder / file.name)
            (folder / "bench.recipe").write_text(pipeline_recipe(), encoding="utf-8")
            usage = measure(alchemist("run", "bench.recipe"), folder)
            column, files = "record", list(folder.glob("done/**/*.parquet"))
        else:
            command = [sys.executable, HERE / "peer_datasets.py", data, folder, str(contender.needs)]
            usage = measure(command, folder, env={"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"})
            column, files = "id", [folder / "train.parquet"]
        if usage.code:
            return usage, 0, 0.0
        ids = _column(files, column)
    return usage, len(ids), _recall(set(ids), data)


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # another file system
        shutil.copyfile(file, to)


def _column(files: list[Path], name: str) -> list[int]:
    import pyarrow.parquet as pq

    return [int(v) for f in files for v in pq.read_table(f, columns=[name])[name].to_pylist()]


def _recall(kept: set[int], data: Path) -> float:
    """Of the planted near duplicates well above the threshold, the share of which not both rows are in the result.

    A row may also be missing because the mixture left it out, for a few in a hundred, in every contender alike.
    """
    planted = [json.loads(line) for line in (data / "truth.jsonl").open(encoding="utf-8")]
    pairs = [(p["id"], p["of"]) for p in planted if p["kind"] == "near" and p["jaccard"] >= THRESHOLD + 0.05]
    both = sum(a in kept and b in kept for a, b in pairs)
    return 1 - both / len(pairs) if pairs else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["start-up", "editor", "pipeline"])
    asked = parser.parse_args()
    if asked.only in (None, "start-up"):
        start_up(max(asked.runs, 5))
    if asked.only in (None, "editor"):
        editor(alchemist, asked.runs)
    if asked.only in (None, "pipeline"):
        pipeline(asked.rows, asked.runs)


if __name__ == "__main__":
    main()
