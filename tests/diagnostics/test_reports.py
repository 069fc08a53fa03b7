"""The forms for code hosts: SARIF 2.1.0 as its standard builds it, and the lines of GitHub's runners."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from alchemist_runtime.schema.codes import CODES
from click.testing import CliRunner, Result

from alchemist_dsl.cli.main import group
from alchemist_dsl.diagnostics.model import Diagnostic, Edit, Label, Severity
from alchemist_dsl.diagnostics.render import FORMATS, github, render, sarif
from alchemist_dsl.source import SourceFile, Span

WRONG = """edition 2026
source chat { files = "rows.jsonl" }
filter clean {
  from = chat
  drop instruction == "𝛼β" or chars(reponse) < 3
  drop chars(response) < 9
}
filter other {
  from = clan
  drop chars(response) < 9
}
export data {
  data = clean
  path = "out"
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipe.lock").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    (tmp_path / "my, recipes: 100%").mkdir()
    (tmp_path / "a.recipe").write_text(WRONG, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*args: str) -> Result:
    return CliRunner().invoke(group, ["check", *args])


# --- the structure of SARIF, as far as results of a checker use it ----------------------------------------------------


def whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def message(value: Any) -> None:
    assert isinstance(value["text"], str) and value["text"].strip()
    assert value.keys() <= {"text", "markdown"}


def uri(value: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._~/%+:-]+", value), value
    assert re.match(r"(file|std):", value) or ":" not in value.split("/")[0], "a path, not a scheme"
    assert "%" not in re.sub(r"%[0-9A-F]{2}", "", value)


def region(value: Any) -> None:
    assert value.keys() == {"startLine", "startColumn", "endLine", "endColumn"}
    assert all(map(whole, value.values()))
    start = (value["startLine"], value["startColumn"])
    assert start <= (value["endLine"], value["endColumn"])


def location(value: Any) -> None:
    assert value.keys() <= {"id", "physicalLocation", "message"}
    place = value["physicalLocation"]
    assert place.keys() <= {"artifactLocation", "region"}
    uri(place["artifactLocation"]["uri"])
    if "region" in place:
        region(place["region"])
    if "message" in value:
        message(value["message"])


def rules_of(log: Any) -> list[Any]:
    """The rules of a log whose structure was looked over."""
    assert log.keys() == {"$schema", "version", "runs"} and log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run.keys() == {"tool", "columnKind", "results"}
    assert run["columnKind"] == "utf16CodeUnits"
    driver = run["tool"]["driver"]
    assert driver["name"] == "alchemist" and driver["version"]
    for rule in driver["rules"]:
        assert rule["id"] in CODES
        assert rule["defaultConfiguration"]["level"] == CODES[rule["id"]].severity
        for part in ("shortDescription", "fullDescription", "help"):
            message(rule[part])
        assert rule["help"]["markdown"].startswith(f"# {rule['id']} ")
        assert re.match(r"https://\S+\.md$", rule.get("helpUri", "https://x.md"))
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for result in run["results"]:
        result_of(result, ids)
    assert {r["ruleId"] for r in run["results"]} == set(ids)
    return list(driver["rules"])


def result_of(result: Any, ids: list[str]) -> None:
    known = {"ruleId", "ruleIndex", "level", "message", "locations", "relatedLocations", "fixes"}
    assert result.keys() <= known
    assert ids[result["ruleIndex"]] == result["ruleId"]
    assert result["level"] in ("error", "warning")
    message(result["message"])
    assert len(result["locations"]) == 1
    for place in [*result["locations"], *result.get("relatedLocations", [])]:
        location(place)
    related = [r["id"] for r in result.get("relatedLocations", [])]
    assert related == sorted(set(related))
    for fix in result.get("fixes", []):
        message(fix["description"])
        for change in fix["artifactChanges"]:
            uri(change["artifactLocation"]["uri"])
            for replacement in change["replacements"]:
                region(replacement["deletedRegion"])
                assert isinstance(replacement["insertedContent"]["text"], str)


def regions(log: Any) -> Iterator[tuple[str, dict[str, int]]]:
    for result in log["runs"][0]["results"]:
        place = result["locations"][0]["physicalLocation"]
        yield result["ruleId"], place["region"]


def test_sarif_of_a_wrong_recipe(folder: Path) -> None:
    done = check("--format", "sarif", "a.recipe")
    assert done.exit_code == 1
    log = json.loads(done.output)
    rules_of(log)
    found = dict(regions(log))
    # `𝛼` is one character and two units of UTF-16
    assert found["A503"] == {"startLine": 5, "startColumn": 38, "endLine": 5, "endColumn": 45}
    assert found["A103"]["startColumn"] == 10
    text = [r["message"]["text"] for r in log["runs"][0]["results"] if r["ruleId"] == "A103"]
    assert text == ["nothing is called `clan`\nhelp: write `clean`"]


def test_applying_the_fixes_of_sarif_mends_the_recipe(folder: Path) -> None:
    log = json.loads(check("--format", "sarif", "a.recipe").output)
    units = [line.encode("utf-16-le") for line in WRONG.split("\n")]
    for result in log["runs"][0]["results"]:
        for fix in result.get("fixes", []):
            (change,) = fix["artifactChanges"]
            (replacement,) = change["replacements"]
            at = replacement["deletedRegion"]
            assert at["startLine"] == at["endLine"]
            line = units[at["startLine"] - 1]
            start, end = 2 * (at["startColumn"] - 1), 2 * (at["endColumn"] - 1)
            inserted = replacement["insertedContent"]["text"].encode("utf-16-le")
            units[at["startLine"] - 1] = line[:start] + inserted + line[end:]
    text = "\n".join(line.decode("utf-16-le") for line in units)
    assert "chars(response) < 3" in text and "from = clean" in text
    (folder / "b.recipe").write_text(text, "utf-8")
    assert "A103" not in check("b.recipe").output and "A503" not in check("b.recipe").output


def test_sarif_of_a_right_recipe_is_a_run_without_results(folder: Path) -> None:
    (folder / "b.recipe").write_text(
        'edition 2026\nsource chat { files = "rows.jsonl" }\nexport d {\n  data = chat\n  path = "o"\n}\n'
    )
    done = check("--format", "sarif", "b.recipe")
    assert done.exit_code == 0
    assert rules_of(json.loads(done.output)) == []
    assert check("--format", "github", "b.recipe").stdout == ""


def test_odd_paths(folder: Path) -> None:
    path = "my, recipes: 100%/a b.recipe"
    (folder / path).write_text(WRONG, "utf-8")
    (folder / "my, recipes: 100%" / "rows.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    log = json.loads(check("--format", "sarif", path).output)
    rules_of(log)
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert unquote(place["artifactLocation"]["uri"]) == path
    line = check("--format", "github", path).stdout.splitlines()[0]
    assert line.startswith("::error file=my%2C recipes%3A 100%25/a b.recipe,line=5,col=37,title=A503 ")


def test_every_code_has_a_rule() -> None:
    source = SourceFile("a.recipe", "edition 2026\n")
    every = [Diagnostic(code, "x", Span("a.recipe", 0, 7)) for code in CODES]
    rules = rules_of(json.loads(sarif(every, {"a.recipe": source})))
    assert [rule["id"] for rule in rules] == sorted(CODES)


def test_labels_places_elsewhere_and_files_that_are_not_at_hand() -> None:
    source = SourceFile("a.recipe", "edition 2026\nsource x {\n}\n")
    one = Diagnostic(
        "A103",
        "head",
        Span("a.recipe", 13, 25),
        label="here",
        labels=(Label(Span("std:alchemy", 3, 4), "there"), Label(Span("/abs/b.recipe", 0, 0), "and there")),
        note="a note",
        help="a help",
        edit=Edit(Span("a.recipe", 13, 19), "task", safe=False),
        severity=Severity.WARNING,
    )
    log = json.loads(sarif([one], {"a.recipe": source}))
    rules_of(log)
    (result,) = log["runs"][0]["results"]
    assert result["level"] == "warning" and "fixes" not in result, "an edit that asks is no fix"
    uris = [r["physicalLocation"]["artifactLocation"]["uri"] for r in result["relatedLocations"]]
    assert uris == ["std:alchemy", "file:///abs/b.recipe"]
    at = result["locations"][0]["physicalLocation"]["region"]
    assert at == {"startLine": 2, "startColumn": 1, "endLine": 3, "endColumn": 2}


# --- GitHub -----------------------------------------------------------------------------------------------------------


def test_github_lines(folder: Path) -> None:
    done = check("--format", "github", "a.recipe")
    assert done.exit_code == 1
    unknown = "did you mean `response`? Columns: instruction, response, system, history, lang, tools, template_args"
    assert done.stdout.splitlines() == [
        f"::error file=a.recipe,line=5,col=37,title=A503 unknown-column::rows of `chat` have no column `reponse`%0Ahelp: {unknown}",
        "::error file=a.recipe,line=9,col=10,title=A103 unknown-name::nothing is called `clan`%0Ahelp: write `clean`",
    ]
    assert "checked 1 recipe" in done.stderr


@pytest.mark.parametrize(
    ("headline", "shown"),
    [
        ("5% of it", "5%25 of it"),
        ("one\r\ntwo", "one\ufffd%0Atwo"),
        ("%0A::error::x", "%250A::error::x"),
        ("a,b: c", "a,b: c"),
    ],
)
def test_github_escapes(headline: str, shown: str) -> None:
    source = SourceFile("a.recipe", "edition 2026\n")
    one = Diagnostic("A103", headline, Span("a.recipe", 0, 0))
    line = github([one], {"a.recipe": source})
    assert line == f"::error file=a.recipe,line=1,col=1,title=A103 unknown-name::{shown}\n"


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_an_option_and_renders(form: Any, folder: Path) -> None:
    assert check("--format", form, "a.recipe").exit_code == 1
    assert render([], {}, form) in ("", "[]\n") or form == "sarif"


def test_no_key_of_a_recipe_reaches_a_report(folder: Path) -> None:
    key = "sk-" + "a1b2" * 6
    (folder / "k.recipe").write_text(
        f'edition 2026\nsource chat {{ files = "rows.jsonl" }}\nteacher t {{\n  provider = openai\n  model = {key.replace("-", "_")}\n'
        f'  api_key_env = "{key}"\n}}\nexport d {{\n  data = chat\n  path = "o"\n}}\n'
    )
    for form in ("sarif", "github"):
        assert key not in check("--format", form, "k.recipe").output
