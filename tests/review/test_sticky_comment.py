"""One comment, whatever the API does: found over pages, made once, changed, taken away; busy, lost, cut and garbled
answers.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate

import pytest
from github_server import REPOSITORY, TOKEN, GitHub
from hypothesis import given
from hypothesis import strategies as st

from alchemist_dsl.review.github import Api, ApiError, Patience, Sticky, cut, mark, size

MARK = mark("recipes")
PERSON = {"login": "someone", "type": "User"}


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def sticky(github: GitHub, waits: list[float]) -> Sticky:
    return Sticky(Api(github.url, TOKEN, Patience(sleep=waits.append)), REPOSITORY, 7, "recipes")


# --- created, updated, deleted ----------------------------------------------------------------------------------------


def test_it_is_made_changed_left_and_taken_away(github: GitHub, sticky: Sticky) -> None:
    github.add("a person says something", PERSON)
    assert sticky.keep("one") == "created"
    assert sticky.keep("two") == "updated"
    assert sticky.keep("two") == "unchanged"
    assert github.bodies() == ["a person says something", f"{MARK}\ntwo"]
    assert github.written() == ["POST", "PATCH"]
    assert sticky.remove() == "deleted"
    assert sticky.remove() == "none"
    assert github.bodies() == ["a person says something"]


def test_it_is_found_on_the_third_page(github: GitHub, sticky: Sticky) -> None:
    for n in range(230):
        github.add(f"{n}", PERSON)
    github.add(f"{MARK}\nold")
    assert sticky.keep("new") == "updated"
    assert len(github.comments) == 231 and github.bodies()[-1] == f"{MARK}\nnew"
    assert [r.path.partition("page=")[2] for r in github.asked if "per_page" in r.path] == [
        "100&page=1",
        "100&page=2",
        "100&page=3",
    ]


def test_a_full_last_page_is_the_last(github: GitHub, sticky: Sticky) -> None:
    for n in range(100):
        github.add(f"{n}", PERSON)
    assert sticky.keep("new") == "created"


def test_of_two_one_stays(github: GitHub, sticky: Sticky) -> None:
    github.add(f"{MARK}\none")
    github.add(f"{MARK}\ntwo")
    assert sticky.keep("new") == "updated"
    assert github.bodies() == [f"{MARK}\nnew"]


def test_comments_of_others_are_never_touched(github: GitHub, sticky: Sticky) -> None:
    theirs = [f"{MARK}\ncopied by a person", f"> {MARK}\nquoted", f"{mark('data')}\nof another name"]
    github.add(theirs[0], PERSON)
    github.add(theirs[1])
    github.add(theirs[2])
    assert sticky.keep("new") == "created"
    assert sticky.remove() == "deleted"
    assert github.bodies() == theirs


def test_with_the_token_of_a_person_it_is_the_persons_comment(github: GitHub, sticky: Sticky) -> None:
    github.login = "someone"
    github.add(f"{MARK}\nof the bot")
    github.add(f"{MARK}\nours", PERSON)
    assert sticky.keep("new") == "updated"
    assert github.bodies() == [f"{MARK}\nof the bot", f"{MARK}\nnew"]


# --- a server in trouble ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [(500, {}), (502, {}), (503, {}), (429, {"retry-after": "7"}), (403, {"retry-after": "7"}), "cut", "garbage"],
    ids=str,
)
def test_reading_is_tried_again(fault: object, github: GitHub, sticky: Sticky, waits: list[float]) -> None:
    github.add(f"{MARK}\nold")
    github.faults = [("GET", "comments", fault), ("GET", "comments", fault)]
    assert sticky.keep("new") == "updated"
    wanted = 7.0 if isinstance(fault, tuple) and fault[1] else None
    assert waits == ([wanted] * 2 if wanted else [1.0, 2.0])


@pytest.mark.parametrize("fault", [(503, {}), (429, {"retry-after": "3"}), "cut", "lost", "garbage"], ids=str)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_writing_is_done_exactly_once(method: str, fault: object, github: GitHub, sticky: Sticky) -> None:
    """Also where the answer is lost after the comment was made: it is looked for before it is made again."""
    if method != "POST":
        github.add(f"{MARK}\nold")
    github.faults = [(method, "", fault)]
    if method == "DELETE":
        sticky.remove()
        assert github.bodies() == []
    else:
        sticky.keep("new")
        assert github.bodies() == [f"{MARK}\nnew"]


def test_a_comment_that_vanishes_meanwhile_is_made_again(github: GitHub, sticky: Sticky) -> None:
    github.add(f"{MARK}\nold")
    github.faults = [("PATCH", "", (404, {}, "Not Found"))]
    assert sticky.keep("new") == "created"
    github.faults = [("DELETE", "", (404, {}, "Not Found"))]
    assert sticky.remove() == "deleted"


def test_patience_ends_by_tries_and_by_time(github: GitHub, sticky: Sticky, waits: list[float]) -> None:
    github.faults = [("GET", "comments", (500, {}, "we are down"))] * 10
    with pytest.raises(ApiError, match=r"answered 500: we are down; given up after 6 tries"):
        sticky.keep("new")
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    github.faults = [("GET", "comments", (429, {"retry-after": "3600"}))]
    sticky.api.patience = Patience(sleep=waits.append)
    with pytest.raises(ApiError, match=r"answered 429: .*; given up after 1 tries"):
        sticky.keep("new")
    assert len(waits) == 5 and github.written() == []


def test_waits_that_headers_ask_for(github: GitHub, sticky: Sticky, waits: list[float]) -> None:
    soon = time.time() + 40
    github.faults = [
        ("GET", "comments", (429, {"retry-after": formatdate(soon, usegmt=True)})),
        ("GET", "comments", (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(soon))})),
        ("GET", "comments", (403, {}, "You have exceeded a secondary rate limit")),
        ("GET", "comments", (429, {"retry-after": "soon"})),
    ]
    sticky.api.patience.seconds = 1000
    assert sticky.keep("new") == "created"
    assert 30 < waits[0] <= 41 and 30 < waits[1] <= 41
    assert waits[2:] == [60.0, 8.0]


# --- no ---------------------------------------------------------------------------------------------------------------


def test_a_token_that_may_only_read(github: GitHub, sticky: Sticky) -> None:
    github.writable = False
    with pytest.raises(ApiError, match="Resource not accessible by integration") as no:
        sticky.keep("new")
    assert no.value.refused
    assert github.written() == ["POST"]  # not tried again


def test_no_message_holds_the_token(github: GitHub, sticky: Sticky) -> None:
    github.faults = [("GET", "comments", (418, {}, f"who is {TOKEN}?\n\n::error::x"))]
    with pytest.raises(ApiError) as no:
        sticky.keep("new")
    assert str(no.value).endswith("answered 418: who is ***? ::error::x")
    assert TOKEN not in repr(sticky)
    wrong = Sticky(Api(github.url, "wrong"), REPOSITORY, 7, "recipes")
    with pytest.raises(ApiError, match="answered 401: Bad credentials") as no:
        wrong.keep("new")
    assert not no.value.refused


def test_a_renamed_repository_is_followed_on_its_host_alone(github: GitHub, sticky: Sticky) -> None:
    github.moved_to = github.url
    assert sticky.keep("new") == "created"
    assert sticky.keep("newer") == "updated"
    other = GitHub()
    github.moved_to = other.url
    with pytest.raises(ApiError, match="is sent to another host; not followed"):
        sticky.keep("new")
    assert other.asked == []
    other.close()


def test_nobody_answers(waits: list[float]) -> None:
    gone = GitHub()
    gone.close()
    api = Api(gone.url, TOKEN, Patience(sleep=waits.append))
    with pytest.raises(ApiError, match=r"got no answer: .*refused.*; given up after 6 tries"):
        Sticky(api, REPOSITORY, 7, "recipes").remove()


# --- length -----------------------------------------------------------------------------------------------------------

NOTE = "*cut*"
pieces = st.sampled_from(
    [
        "a" * 30,
        "é",
        "😀" * 9,
        "",
        "```",
        "```recipe",
        "~~~~",
        "````",
        "<details><summary>s</summary>",
        "</details>",
        "| a | b |",
    ]
)


@given(st.lists(pieces, max_size=60), st.integers(60, 900))
def test_what_is_cut_fits_and_nothing_stays_open(lines: list[str], longest: int) -> None:
    text = "\n".join(lines)
    out = cut(text, longest, NOTE)
    assert size(out) <= longest
    if size(text) <= longest:
        assert out == text
        return
    assert out.endswith(f"\n\n{NOTE}\n")
    kept = out.removesuffix(f"\n\n{NOTE}\n").split("\n")
    same = next((i for i, (a, b) in enumerate(zip(kept, lines, strict=False)) if a != b), None)
    closing = [] if same is None else kept[same:]
    assert all(re.fullmatch(r"`{3,}|~{3,}|</details>|", line) for line in closing)
    fence = ""
    for line in kept:  # by the rules of CommonMark
        found = re.match(r"(`{3,}|~{3,})(.*)", line)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        elif found:
            fence = found[1]
    assert fence == ""


def test_a_cut_comment_is_taken(github: GitHub, sticky: Sticky) -> None:
    long = "\n".join(f"- line {n} 😀" for n in range(9000))
    body = cut(long, 65_536 - size(f"{MARK}\n"), NOTE)
    assert sticky.keep(body) == "created"
    assert len(body) > 60_000
    with pytest.raises(ApiError, match="422: Body is too long"):
        sticky.keep(long)


def test_what_a_cut_leaves_open_is_closed_in_order() -> None:
    text = "<details>\n<summary>a</summary>\n\n```recipe\n" + "x = 1\n" * 50 + "```\n</details>\n"
    out = cut(text, 120, NOTE)
    assert out.startswith("<details>\n<summary>a</summary>\n\n```recipe\nx = 1\n")
    assert out.endswith("x = 1\n```\n\n</details>\n\n*cut*\n")
