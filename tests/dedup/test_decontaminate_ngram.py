"""Leaks by n-grams against plain Python, word by word."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from alchemist_runtime.operators import words as _words
from alchemist_runtime.operators.decontaminate._wanted import text_between
from alchemist_runtime.operators.leaks import Items
from alchemist_runtime.schema import catalog
from hypothesis import given
from hypothesis import strategies as st


def run(rows, items, **args):
    """Rows and items are lists of lists of texts, one for each column."""
    columns = [pa.array(list(c), pa.string()) for c in zip(*rows, strict=True)]
    names = [f"i{k}" for k in range(len(items))]
    find = catalog.find("decontaminate", "ngram").function
    return find(columns, Items(items, names, ["suite"] * len(items)), **args)


def words(text: str | None) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", (text or "").replace("\u00ad", "")).lower())


def item_grams(texts, n: int) -> set[tuple[str, ...]]:
    spelled = [words(t) for t in texts]
    if max(map(len, spelled), default=0) >= n:
        return {tuple(w[i : i + n]) for w in spelled for i in range(len(w) - n + 1)}
    return {tuple(w) for w in spelled if len(w) >= 5}


def starts(texts, gram: tuple[str, ...]) -> list[tuple[int, int]]:
    out = []
    for column, text in enumerate(texts):
        w = words(text)
        for i in range(len(w) - len(gram) + 1):
            if tuple(w[i : i + len(gram)]) == gram:
                out.append((column, i))
    return out


def oracle(rows, items, n: int, share: float) -> list[tuple[int, int]]:
    wanted = [item_grams(texts, n) for texts in items]
    out = []
    for r, texts in enumerate(rows):
        best = None
        for k, grams in enumerate(wanted):
            count = sum(bool(starts(texts, g)) for g in grams)
            if count and count / len(grams) >= share:
                best = max(best or (-1.0, 0, 0), (count / len(grams), count, -k))
        if best:
            out.append((r, -best[2]))
    return out


WORDS = [
    "a",
    "B",
    "b",
    "ﬁn",
    "fin",
    "Straße",
    "STRASSE",
    "Ⅷ",
    "viii",
    "long_word_of_some_bytes",
    "²",
    "x\u00ady",
    "e\u0301t",
]
TEXT = st.one_of(
    st.none(),
    st.lists(st.sampled_from(WORDS[:4] + WORDS), max_size=16).flatmap(
        lambda w: st.sampled_from([" ", ", ", "\n", " — "]).map(lambda sep: sep.join(w))
    ),
)
TABLE = st.integers(1, 2).flatmap(lambda k: st.lists(st.tuples(*[TEXT] * k), min_size=1, max_size=5))


@given(
    TABLE, st.lists(st.lists(TEXT, max_size=3), max_size=4), st.integers(1, 8), st.sampled_from([0.0, 0.3, 0.5, 1.0])
)
def test_rows_and_items_are_those_of_plain_python(rows, items, n, share):
    made = run(rows, items, n=n, share=share)
    assert list(zip(made.row.tolist(), made.item.tolist(), strict=True)) == oracle(rows, items, n, share)
    assert made.unsearchable == tuple(k for k, t in enumerate(items) if not item_grams(t, n))
    for r, k, match in zip(made.row.tolist(), made.item.tolist(), made.match, strict=True):
        assert match == longest(rows[r], item_grams(items[k], n))


def longest(texts, grams) -> str:
    """The longest stretch, found on the original text by trying all of them."""
    best, size = "", -1
    for column, text in enumerate(texts):
        hits = sorted((i, len(g)) for g in grams for c, i in starts(texts, g) if c == column)
        spans: list[list[int]] = []
        for i, n in hits:
            if spans and i <= spans[-1][2] + 1:
                spans[-1] = [spans[-1][0], max(spans[-1][1], i + n), i]
            else:
                spans.append([i, i + n, i])
        for a, b, _ in spans:
            found, folded = spelled(text, a, b)
            if folded > size:
                best, size = found, folded
    return best


def spelled(text: str, a: int, b: int) -> tuple[str, int]:
    """The part of the text that holds the words a to b - 1, and its bytes after folding. No word of WORDS changes its
    number of words.
    """
    spots = [m.span() for m in re.finditer(r"[\w\u00ad\u0301]+", text)]
    part = text[spots[a][0] : spots[b - 1][1]]
    return part, len(unicodedata.normalize("NFKC", part.replace("\u00ad", "")).lower().encode())


def test_one_shared_n_gram_is_enough():
    item = ["def add(a, b): return the sum of both numbers, whatever their sign"]
    rows = [
        ["Please: DEF  add (A, B):\n  Return the SUM of both numbers! thanks"],
        ["def add(a, b): return the sum of two numbers, whatever their sign"],
    ]
    made = run(rows, [item], n=10)
    assert made.row.tolist() == [0]
    assert made.match == ["DEF  add (A, B):\n  Return the SUM of both numbers"]


def test_share_is_of_the_items_n_grams():
    item = [" ".join(f"w{k}" for k in range(20))]  # eleven 10-grams
    rows = [[" ".join(f"w{k}" for k in range(end))] for end in (10, 14, 15, 20)]
    assert run(rows, [item], n=10, share=5 / 11).row.tolist() == [1, 2, 3]
    assert run(rows, [item], n=10, share=0.5).row.tolist() == [2, 3]
    assert run(rows, [item], n=10, share=1).row.tolist() == [3]
    assert run(rows, [item], n=10).row.tolist() == [0, 1, 2, 3]


def test_short_items_are_looked_for_whole_from_five_words_on():
    items = [["one two three four five"], ["one two three four"], ["two three four five six seven"]]
    rows = [["zero one two three four five"], ["TWO-three-four-five-six-SEVEN!"], ["one two three four"]]
    made = run(rows, items, n=10)
    assert made.row.tolist() == [0, 1]
    assert made.item.tolist() == [0, 2]
    assert made.match == ["one two three four five", "TWO-three-four-five-six-SEVEN"]
    assert made.unsearchable == (1,)


def test_a_short_text_beside_a_long_one_is_not_looked_for():
    item = ["return a + b if a else b", "one two three four five six seven eight nine ten"]
    rows = [["return a + b if a else b"], ["one two three four five six seven eight nine ten"]]
    assert run(rows, [item], n=10).row.tolist() == [1]


def test_no_n_gram_reaches_from_one_text_into_another():
    item = ["one two three four five six"]
    assert run([["one two three", "four five six"]], [item], n=6).row.tolist() == []
    assert run([["x", "one two three four five six"]], [item], n=6).row.tolist() == [0]


def test_the_best_item_is_reported():
    items = [["a b c d e f g h"], ["c d e f g h"], ["c d e f g h"]]
    made = run([["c d e f g h"]], items, n=5)
    assert made.item.tolist() == [1]


def test_nothing_to_look_for_and_nothing_to_look_in():
    assert run([["some text"]], []).row.tolist() == []
    assert run([["some text"]], [["too short"], [None], []]).unsearchable == (0, 1, 2)
    find = catalog.find("decontaminate", "ngram").function
    items = Items([["one two three four five"]], ["x"], ["s"])
    assert find([pa.array([], pa.string())], items).row.tolist() == []


def test_equal_hashes_are_no_hit(monkeypatch):
    """With hashes of four bits nearly every run of words collides; the words decide all the same."""
    real, shingles = _words.runs, _words.shingles

    def poor(hashes, n):
        return real(hashes, n) & np.uint64(0xF << 60)

    def fair(words, n):
        monkeypatch.setattr(_words, "runs", real)
        made = shingles(words, n)
        monkeypatch.setattr(_words, "runs", poor)
        return made

    monkeypatch.setattr(_words, "runs", poor)
    monkeypatch.setattr(_words, "shingles", fair)
    rows = [[" ".join(f"w{k + j}" for j in range(30))] for k in range(0, 90, 3)]
    items = [[" ".join(f"w{k + j}" for j in range(12))] for k in (0, 41, 200)] + [["w7 w8 w9 w10 w11"]]
    made = run(rows, items, n=8)
    assert list(zip(made.row.tolist(), made.item.tolist(), strict=True)) == oracle(rows, items, 8, 0)


def test_words_that_differ_late_are_not_the_same():
    long = "x" * 300
    rows = [[f"{long}{end} b c d e"] for end in "yz"] + [[f"eightlet{end} b c d e"] for end in "yz"]
    made = run(rows, [[f"{long}y b c d e"], ["eightlety b c d e"]], n=5)
    assert list(zip(made.row.tolist(), made.item.tolist(), strict=True)) == [(0, 0), (2, 1)]


def test_many_blocks_give_the_same(monkeypatch):
    rows = [[" ".join(f"w{k * 7 + j}" for j in range(30)), f"w{k}"] for k in range(40)]
    items = [[" ".join(f"w{k + j}" for j in range(12))] for k in (5, 41, 250)]
    want = run(rows, items, n=10)
    monkeypatch.setattr(_words, "blocks", lambda t, _blocks=_words.blocks: _blocks(t, 100))
    got = run(rows, items, n=10)
    assert (got.row.tolist(), got.item.tolist(), got.match) == (want.row.tolist(), want.item.tolist(), want.match)
    assert len(want.row) > 5


@given(st.text(st.sampled_from("ab _.é\u0301İßΣﬁ½²Ⅷ漢\u00ad𝐀\n"), min_size=1, max_size=30), st.data())
def test_text_between_finds_the_words(text, data):
    found = _words.words_of(text, _words.compatible)
    if not found:
        return
    a = data.draw(st.integers(0, len(found) - 1))
    b = data.draw(st.integers(a, len(found) - 1))
    part = text_between(text, a, b)
    assert part in text
    want, got = (
        [w.replace("σ", "ς") for w in ws] for ws in (found[a : b + 1], _words.words_of(part, _words.compatible))
    )
    # a sign that folds to two words stands in the text whole
    assert any(got[k : k + len(want)] == want for k in range(len(got)))
    assert len(got) <= len(want) + 2


@pytest.mark.parametrize(
    "text, first, last, want",
    [
        ("Größe: ﬁnd ½ cup", 0, 1, "Größe: ﬁnd"),
        ("ﬁnd ½ cup", 1, 2, "½"),
        ("cafe\u0301 au lait.", 0, 0, "cafe\u0301"),
        ("cafe\u0301 au lait.", 1, 2, "au lait"),
        ("…Ⅷ — ok", 0, 0, "Ⅷ"),
    ],
)
def test_text_between(text, first, last, want):
    assert text_between(text, first, last) == want


ITEMS = {
    "zh": "请写一个函数接收一组温度并返回最高和最低温度之间的差值如果列表为空则返回零",
    "ja": "温度のリストを受け取り最高気温と最低気温の差を返す関数を書いてください空なら零を返します",
    "th": "เขียนฟังก์ชันที่รับรายการอุณหภูมิแล้วคืนค่าผลต่างระหว่างค่าสูงสุดกับค่าต่ำสุด",
    "lo": "ຂຽນຟັງຊັນທີ່ຮັບລາຍການອຸນຫະພູມແລ້ວສົ່ງຄືນຄວາມແຕກຕ່າງລະຫວ່າງຄ່າສູງສຸດກັບຄ່າຕ່ຳສຸດ",
    "km": "សរសេរអនុគមន៍ដែលទទួលបញ្ជីសីតុណ្ហភាពហើយបញ្ជូនភាពខុសគ្នារវាងតម្លៃខ្ពស់បំផុតនិងទាបបំផុត",
    "my": "အပူချိန်စာရင်းကိုလက်ခံပြီးအမြင့်ဆုံးနှင့်အနိမ့်ဆုံးကွာခြားချက်ကိုပြန်ပေးသည့်လုပ်ဆောင်ချက်ရေးပါ",
}


@pytest.mark.parametrize("script", ITEMS)
def test_items_in_scripts_without_spaces(script):
    item = ITEMS[script]
    half = item[: len(item) // 2 + 4]
    rows = [[f"x {item}。"], [f"1. {half}"], [item[:8]], [unicodedata.normalize("NFD", item)], ["\u200b".join(item)]]
    made = run(rows, [[item], ["another text of five words"]], n=10)
    assert made.unsearchable == ()
    assert made.row.tolist() == [0, 1, 3, 4]
    assert made.match[:2] == [item, half]
    assert run(rows, [[item]], n=10, share=0.9).row.tolist() == [0, 3, 4]


def test_two_letters_of_a_script_without_spaces_count_as_a_word():
    item = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    assert run([[item[:20]], [item[:19]]], [[item]], n=10).row.tolist() == [0]
    assert run([[item[3:17] + " def f a"]], [[item[:17] + " def f a b"]], n=10).row.tolist() == [0]
    assert run([["x"]], [[item[:9]], [item[:10]], ["a b c d e"]], n=10).unsearchable == (0,)
    assert run([[item[:12]], [item[:9]]], [[item[:10]]], n=10).row.tolist() == [0]
