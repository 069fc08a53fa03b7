"""The table of diagnostic codes: number, slug, severity, one sentence. Codes are stable: never reused, never
renumbered.

Add a row where a check needs a code of its own, and its page under `pages/`; a code that nothing emits is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple


class Code(NamedTuple):
    slug: str
    severity: str
    summary: str


AREAS: Final[dict[str, str]] = {
    "A0": "syntax",
    "A1": "names and imports",
    "A2": "types and units",
    "A3": "sources",
    "A4": "prompts and templates",
    "A5": "graph and columns",
    "A6": "mixtures",
    "A7": "teachers and money",
    "A8": "training and evaluation",
    "A9": "plan and run",
}

CODES: Final[dict[str, Code]] = {
    "A001": Code("missing-equals", "error", "An attribute needs `=` before its value."),
    "A002": Code("unexpected", "error", "Something stands where the grammar expects something else."),
    "A003": Code("unclosed-list", "error", "A list or call is never closed."),
    "A004": Code("unclosed-block", "error", "A block is never closed."),
    "A005": Code("stray-closer", "error", "A closing bracket closes nothing."),
    "A006": Code("unclosed-text", "error", "A text block is never closed."),
    "A007": Code("unclosed-string", "error", "A string does not end on its line."),
    "A008": Code(
        "text-indentation", "error", "A line of a text block is indented less than its closing quotes, or with tabs."
    ),
    "A009": Code("colon-for-equals", "error", "Attributes are set with `=`; `:` declares a type."),
    "A010": Code("bad-escape", "error", "A string holds an escape that JSON does not know."),
    "A011": Code("bad-number", "error", "A number or its unit is not written as the language writes it."),
    "A012": Code("no-edition", "error", "The file does not open with an `edition` line."),
    "A013": Code("unknown-edition", "error", "This version does not know the edition."),
    "A014": Code("not-utf8", "error", "The file is not UTF-8."),
    "A015": Code("merge-conflict", "error", "The file holds the markers of an unfinished merge."),
    "A016": Code("missing-value", "error", "An attribute has no value."),
    "A017": Code("reserved-word", "error", "A reserved word stands where a name is needed."),
    "A018": Code("text-layout", "error", "The quotes of a text block do not stand on lines of their own."),
    "A019": Code("too-large", "error", "A recipe or a line of it is larger than one may be."),
    "A020": Code("long-chain", "error", "Too many files import or extend each other in a row."),
    "A021": Code("hidden-characters", "warning", "A text holds characters that change what is seen of it."),
    "A101": Code("unknown-kind", "error", "There is no block kind of this name."),
    "A102": Code("unknown-attribute", "error", "The kind has no attribute of this name."),
    "A103": Code("unknown-name", "error", "Nothing is declared under this name."),
    "A104": Code("duplicate-name", "error", "Two blocks have the same name."),
    "A105": Code("duplicate-attribute", "error", "An attribute is set twice."),
    "A106": Code("missing-attribute", "error", "A required attribute is not set."),
    "A107": Code("import-not-found", "error", "An imported file does not exist."),
    "A108": Code("import-cycle", "error", "Files import each other in a cycle."),
    "A109": Code("no-such-member", "error", "An imported file declares nothing of this name."),
    "A110": Code("wrong-kind", "error", "A reference names a block of another kind."),
    "A111": Code("misplaced", "error", "A statement does not belong in a block of this kind."),
    "A112": Code("missing-name", "error", "A block of this kind needs a name."),
    "A113": Code("import-outside", "error", "An import leaves the project folder."),
    "A114": Code("unused-import", "warning", "Nothing uses an import."),
    "A115": Code("bad-name", "error", "A name is reserved or has a form that names may not have."),
    "A116": Code("unknown-param", "error", "There is no parameter of this name."),
    "A117": Code("no-such-port", "error", "A block has no port of this name."),
    "A118": Code("not-supported-yet", "error", "This version does not know this construct yet."),
    "A119": Code("unknown-function", "error", "There is no function of this name."),
    "A120": Code("unknown-method", "error", "There is no method of this name for this attribute."),
    "A121": Code("bad-moved", "error", "A `moved` block names blocks that do not fit."),
    "A122": Code("several-runs", "error", "`any(…)` stands for several runs, and one must be named."),
    "A201": Code("wrong-type", "error", "A value has another type than the attribute takes."),
    "A202": Code("wrong-unit", "error", "A value has another unit than the attribute takes."),
    "A203": Code("percent-out-of-range", "error", "A share lies outside 0% to 100%."),
    "A204": Code("out-of-range", "error", "A number lies outside the range of its attribute."),
    "A205": Code("minutes-or-millions", "error", "`M` means million; minutes are written `m`."),
    "A206": Code("not-whole", "error", "A count is not a whole number."),
    "A207": Code("bad-override", "error", "A parameter's value from outside is not of its type."),
    "A208": Code("wrong-arguments", "error", "A call has too many, too few or unknown arguments."),
    "A209": Code("empty-interval", "error", "An interval starts above its end."),
    "A210": Code("wrong-operand", "error", "An operator is applied to types that it does not take."),
    "A211": Code("not-a-condition", "error", "A rule needs a condition."),
    "A212": Code("param-without-value", "error", "A parameter without default got no value."),
    "A213": Code("unknown-choice", "error", "The attribute does not know this choice."),
    "A215": Code("never-true", "error", "An expectation can never hold."),
    "A301": Code("source-place", "error", "A source needs exactly one of `hub`, `files`, `python`, `missing`."),
    "A302": Code("no-files", "error", "A pattern matches no file."),
    "A303": Code("file-type", "error", "The type of a file is not supported."),
    "A304": Code("missing-column", "error", "A source does not give a column that its schema requires."),
    "A305": Code("bad-row", "error", "A record cannot be read."),
    "A306": Code("gated-dataset", "error", "The hub refuses a dataset."),
    "A307": Code("unpinned", "warning", "A hub source has no revision; the lock pins one."),
    "A308": Code("empty-source", "error", "A source gives no row."),
    "A309": Code("hub-unreachable", "error", "The hub cannot be reached."),
    "A310": Code("unknown-revision", "error", "The hub does not have this revision, split, configuration or file."),
    "A311": Code("module-not-found", "error", "A Python package named by a source is not installed."),
    "A312": Code("unreadable-file", "error", "A file cannot be opened or decompressed."),
    "A313": Code("licence-conflict", "error", "A licence of a source does not allow what the export claims."),
    "A314": Code("unread-column", "warning", "A column looks like part of the request and nothing reads it."),
    "A316": Code("key-twice", "warning", "An object in the data has a key twice."),
    "A317": Code("unread-member", "warning", "A file is an object, of which one list is read."),
    "A320": Code("outside-files", "warning", "A source reads files outside the project."),
    "A321": Code("hidden-link", "error", "A file of a source is a link that leads out of the project."),
    "A322": Code("too-many-columns", "error", "The records of a source have too many columns."),
    "A401": Code("template-syntax", "error", "A template does not parse."),
    "A402": Code("unknown-variable", "error", "A template reads a variable that is not there."),
    "A403": Code("unused-input", "warning", "A prompt declares an input that its templates do not read."),
    "A404": Code("input-not-supplied", "error", "A prompt needs a column that the rows do not have."),
    "A405": Code("unknown-filter", "error", "A template uses a filter or test that does not exist."),
    "A406": Code("no-such-output", "error", "The teacher's reply has no field of this name."),
    "A407": Code("rules-mismatch", "error", "The prompt's inputs and outputs do not fit what the rules teacher does."),
    "A408": Code("blind-relabel", "error", "A relabeling prompt does not read `response`, or the step sets it."),
    "A409": Code("template-failed", "error", "A template cannot be rendered over a row."),
    "A410": Code("literal-braces", "warning", "A plain text holds what only a template fills in."),
    "A411": Code(
        "no-chat-template",
        "error",
        "`chat_template` names a file or a model that is not there, or a template is named where its text belongs.",
    ),
    "A412": Code(
        "template-date",
        "warning",
        "A chat template writes the day of the run, or `date` names a day that it does not write.",
    ),
    "A501": Code("cycle", "error", "Steps need each other."),
    "A502": Code("no-output", "warning", "Nothing in the recipe is exported, trained or checked."),
    "A503": Code("unknown-column", "error", "Rows have no column of this name."),
    "A504": Code("column-type", "error", "A column has another type than it is read with."),
    "A505": Code("unused-step", "warning", "Nothing reads a step."),
    "A506": Code("learns-from-leaks", "error", "A task learns from rows that leak a benchmark."),
    "A507": Code(
        "not-decontaminated", "warning", "Text that nobody searched for benchmarks is exported or trained on."
    ),
    "A508": Code("unclassed-rule", "warning", "A rule of the step stands in no class of the task."),
    "A509": Code("unknown-rule", "error", "A class names a rule that the step does not have."),
    "A510": Code("no-standard-task", "error", "There is no standard task for this port; templates are needed."),
    "A511": Code("set-identity", "error", "A column that carries the identity of a row cannot be set."),
    "A512": Code("not-searchable", "warning", "Benchmark items are too short to be searched for."),
    "A513": Code("empty-split", "warning", "A split of an export has no row."),
    "A514": Code("no-entry-points", "warning", "A search by name reads a suite that holds no names."),
    "A517": Code("trains-on-eval", "warning", "A training reads rows that an export writes as `eval`."),
    "A601": Code("shares-over-100", "error", "The shares of a mixture do not add up."),
    "A602": Code("not-enough-data", "error", "A mixture's entry has fewer rows than it should give."),
    "A603": Code("mixture-unit", "error", "A mixture with shares needs `total` or `unit`."),
    "A604": Code("rows-twice", "warning", "The same rows come in by two entries or streams."),
    "A605": Code("two-rests", "error", "`rest` stands twice, or beside parts."),
    "A606": Code("no-tokenizer", "warning", "Token counts are estimated: no tokenizer is declared."),
    "A607": Code("two-tokenizers", "error", "Two base models read the mixture and no tokenizer is declared."),
    "A608": Code("empty-mixture", "error", "A mixture takes nothing."),
    "A701": Code("no-key", "error", "The environment variable with the teacher's key is not set."),
    "A702": Code("no-price", "error", "The cost of a teacher is unknown, so it cannot be checked."),
    "A703": Code("over-budget", "error", "A budget is reached."),
    "A704": Code("prompt-too-long", "error", "Rows do not fit the context of a teacher."),
    "A705": Code("teacher-failed", "error", "Too many calls to a teacher failed for good."),
    "A706": Code("undated-model", "warning", "The model's name has no date or revision."),
    "A707": Code("key-in-recipe", "error", "An API key is written into a recipe."),
    "A708": Code(
        "teacher-unreachable",
        "error",
        "The teacher's server cannot be reached, or refuses every call: key, credit, model or quota.",
    ),
    "A709": Code("no-consent", "error", "The run would spend money and nobody agreed to it."),
    "A710": Code("not-recorded", "error", "A replayed run asks a question that was not recorded."),
    "A712": Code("replies", "error", "A test gives fewer answers than its step asks for."),
    "A713": Code(
        "host-not-allowed",
        "error",
        "A key would go to a server to which this project has sent none, and nobody agreed.",
    ),
    "A719": Code("unusable-answers", "error", "Too many answers of a teacher cannot be used."),
    "A723": Code("server-lacks", "warning", "A teacher's server does not take a way of asking, so it was left out."),
    "A724": Code("larger-answers", "warning", "A server charges more tokens for a call than it was allowed."),
    "A725": Code("no-batch-api", "error", "A teacher has no Batch API."),
    "A726": Code(
        "unread-batch", "error", "A batch of questions was not taken by its server, or its answers are not read yet."
    ),
    "A730": Code("model-failed", "error", "A teacher's model in this process failed."),
    "A735": Code("request-field", "error", "A part of a teacher's requests cannot be set in this way."),
    "A736": Code("goes-on", "error", "A prompt begins a turn with which its teacher cannot go on."),
    "A737": Code("same-answers", "warning", "Several answers are drawn at temperature 0."),
    "A738": Code("no-requests", "error", "A teacher that sends no requests says what goes into them."),
    "A739": Code("repair-unused", "warning", "Answers that fit anyway are to be sent back."),
    "A740": Code("out-of-reach", "warning", "More rows are to be accepted than are asked about."),
    "A801": Code("no-template", "error", "A base model or a teacher's has no chat template and none is declared."),
    "A802": Code("world-size", "error", "Training started with another number of processes than asked for."),
    "A803": Code("training-failed", "error", "The training process failed."),
    "A804": Code("no-revision", "warning", "A base model of the hub has no revision."),
    "A805": Code("accelerate-file", "error", "An accelerate configuration is missing or has an unknown key."),
    "A806": Code("row-too-long", "error", "Rows do not fit the maximum length."),
    "A807": Code("not-run-yet", "warning", "This version compiles the block but does not run it."),
    "A808": Code("no-model", "error", "A model or its tokenizer cannot be loaded."),
    "A809": Code("batch-size", "error", "A batch cannot be shared out evenly among the processes."),
    "A810": Code("row-refused", "error", "The chat template refuses a row."),
    "A811": Code("nothing-to-learn", "error", "Nothing is left to train on."),
    "A812": Code("no-base", "error", "The base of a training, or a teacher's model, is no folder with a model."),
    "A813": Code("batch-unit", "error", "A batch is counted in a unit that its packing does not have."),
    "A814": Code("packs-leak", "error", "The model does not keep the rows of a pack apart."),
    "A815": Code("no-memory", "warning", "A training takes more memory than a common GPU has."),
    "A816": Code("special-tokens", "error", "Rows hold control tokens in their own text."),
    "A817": Code(
        "rendered-otherwise",
        "warning",
        "The chat template leaves something of rows out, or does not show where a reply ends.",
    ),
    "A818": Code("day-of-the-run", "warning", "The chat template writes the day of the run."),
    "A901": Code("check-failed", "error", "A check says no."),
    "A902": Code("check-unknown", "error", "A check could not be evaluated."),
    "A904": Code("plan-version", "error", "The plan's format is newer than this program."),
    "A905": Code("disk-full", "error", "There is no space left on the device."),
    "A906": Code("foreign-folder", "error", "An export would overwrite a folder that alchemist did not write."),
    "A907": Code("damaged-store", "error", "A stored result is incomplete or damaged."),
    "A908": Code("locked", "error", "Something differs from recipe.lock."),
    "A909": Code("outside-project", "error", "An export path leaves the project folder."),
    "A910": Code("missing-extra", "error", "An optional library is not installed."),
    "A911": Code("expect-failed", "error", "A step's expectation does not hold."),
    "A912": Code("no-such-node", "error", "The plan has no node of this name."),
    "A913": Code("file-changed", "error", "A file changed between planning and reading."),
    "A914": Code("not-writable", "error", "A folder or file of the project cannot be written."),
    "A915": Code("same-folder", "error", "Two exports write into the same folder."),
    "A916": Code("not-a-key", "error", "A key of a stored result is none."),
    "A917": Code("plan-changed", "error", "A plan file is not as the compiler wrote it."),
    "A918": Code("not-built", "error", "A run could not build what was asked for."),
    "A950": Code("yaml-syntax", "error", "A configuration of another tool cannot be read."),
    "A951": Code("not-taken-over", "error", "A configuration of another tool is none that a recipe can stand for."),
    "A952": Code("not-said", "warning", "A recipe does not say what a key of another tool says."),
    "A953": Code("said-otherwise", "warning", "A key of another tool is taken over with a difference."),
    "A954": Code("unknown-key", "warning", "A configuration has a key that is not known."),
    "A955": Code("secret-left-out", "warning", "A configuration holds a key or token, which is left out."),
    "A956": Code("not-exported", "warning", "Another tool does not say what a recipe says."),
}


# --- errors ----------------------------------------------------------------------------------------------------------

#: Exit codes of the command line (docs/language.md, "Exit codes").
OK, SAID_NO, USAGE, NOT_CARRIED_OUT, BUG, INTERRUPTED = 0, 1, 2, 3, 4, 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One message: a complete headline, a stable code, where it is, why, and a way out."""

    code: str  # "A302", a key of schema.codes.CODES
    headline: str
    node: str | None = None  # the block it concerns; the caller adds file, line and column from the plan
    place: str | None = None  # a place outside the recipe: "data/a.jsonl:17"
    note: str | None = None
    help: str | None = None
    severity: str = "error"
    entry: str | None = None  # the entry of a mixture that it concerns

    @property
    def slug(self) -> str:
        """The code in words: "no-files"."""
        return CODES[self.code].slug


class RunError(Exception):
    """A step could not be carried out; `exit_code` says whether the user is wrong (1) or the world (3).

    `damaged`: the key of the stored result that turned out not to be whole; the engine makes it again."""

    def __init__(self, problem: Problem, *, exit_code: int = NOT_CARRIED_OUT, damaged: str | None = None) -> None:
        super().__init__(f"{problem.code} {problem.headline}")
        self.problem = problem
        self.exit_code = exit_code
        self.damaged = damaged


@dataclass(slots=True)
class Warnings:
    """Collects problems that do not stop a run."""

    items: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        self.items.append(problem)
