"""What every reader is given: the file, the disk, how many devices there were; and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from alchemist_dsl.migrate.recipe_draft import Draft, Remark, Source, named
from alchemist_dsl.migrate.source_location import Files
from alchemist_dsl.migrate.tracked_mapping import Asked, Log, Remarked, Value
from alchemist_dsl.source import SourceFile, Span


class Refused(ValueError):
    """A configuration that no recipe can stand for; `span` is where it says so."""

    def __init__(self, headline: str, span: Span, help: str | None = None) -> None:
        super().__init__(headline)
        self.headline, self.span, self.help = headline, span, help


@dataclass(slots=True)
class Reading:
    """One file on its way to a recipe. `name` is that of its `train` block."""

    value: Value
    log: Log
    files: Files
    name: str
    gpus: int | None
    others: dict[str, SourceFile] = field(default_factory=dict)  # further files that were read

    def begin(self) -> tuple[Asked, Draft]:
        """The keys of the file, and an empty draft whose `train` block gets the remarks."""
        draft = Draft(self.name.replace("_", " "), train_name=named(self.name, ()))
        return Asked(self.value, "", self.log, self.remarks(draft, "train")), draft

    def remarks(self, draft: Draft, block: str) -> Remarked:
        def remark(text: str, at: str = "") -> None:
            draft.remark(block, text, at)

        return remark

    def rename(self, draft: Draft, source: Source, name: str) -> None:
        """Name a source that is there already after its place."""
        taken = {s.name for s in draft.sources if s is not source} | {draft.train_name}
        source.name = named(name, taken)

    def source(self, draft: Draft, name: str) -> Source:
        """A new source of the draft, named after a place."""
        result = Source(named(name, {s.name for s in draft.sources} | {draft.train_name}))
        draft.sources.append(result)
        return result


def distinct(draft: Draft) -> None:
    """Names for sources of one place: after their splits or configurations, where these tell them apart."""
    groups: dict[str, list[Source]] = {}
    for source in draft.sources:
        groups.setdefault(str(source.attrs.get("hub")), []).append(source)
    for place, group in groups.items():
        if place == "None" or len(group) < 2:
            continue
        for key in ("split", "config"):
            more = [str(s.attrs.get(key, "train" if key == "split" else "")) for s in group]
            if len(set(more)) == len(group):
                break
        else:
            continue
        taken = {s.name for s in draft.sources if s not in group} | {draft.train_name}
        for source, word in zip(group, more, strict=True):
            source.name = named(f"{named(place, ())} {word}", taken)
            taken.add(source.name)


def of_source(source: Source) -> Remarked:
    """Where remarks about a source's keys go."""

    def remark(text: str, at: str = "") -> None:
        source.remarks.append(Remark(text, at))

    return remark


def none_found(reading: Reading, draft: Draft, why: str) -> None:
    """A recipe has at least one source: one that says what is missing."""
    if not draft.sources:
        source = reading.source(draft, "data")
        source.attrs = {"missing": why}
        reading.log.add(
            "A953",
            f"the configuration names no data: {why}",
            reading.value.span,
            label="said with a difference",
            help="put a source in its place",
        )
