import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from segkit.measuring import run_page
from segkit.measuring.measures import measure
from segkit.measuring.run_page import write_run_page
from segkit.measuring.table import CaseMeasures, figures
from segkit.prediction.writers import write_picture

TRUST = {"predicted_dice": 0.9, "bound": 0.8, "verdict": "accept", "unlike": []}
REVIEW = {"predicted_dice": 0.4, "bound": 0.1, "verdict": "review", "unlike": ["<b>darker</b> than any"]}
EVIL = '<script>alert("x")</script>&'
VOID = {"meta", "img", "br", "link", "input"}


class Nesting(HTMLParser):
    """Which elements are there, and whether all are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.wrong = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def case(folder, name, *, trust=TRUST, size=(60, 90), error=None, mask=None, **how):
    if error is not None:
        return CaseMeasures(name, error=error)
    mask = np.eye(6, dtype=np.uint8) if mask is None else mask
    probabilities = np.full((1, *mask.shape), 0.5, np.float32)
    found = measure(mask, probabilities, classes=["none", "lesion"], task="binary", background=0, spacing=(2, 2))
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = folder / f"{len(list(folder.iterdir()))} {len(name)}_preview.png"
    write_picture(file, picture)
    return CaseMeasures(name, figures(found), trust, preview=file, **how)


def page(folder, cases, **how):
    how = {
        "model": "hippocampus",
        "digest": "ab" * 32,
        "settings": {"tile": 512, "tta": None},
        "colours": {"lesion": (230, 159, 0)},
        **how,
    }
    path = write_run_page(folder, "A run", cases, **how)
    assert path == folder / "index.html"
    return path.read_text("utf-8")


def pictures(text):
    urls = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(url), np.uint8), cv2.IMREAD_COLOR) for url in urls]


def rows(text):
    """Cells of the table of figures, as text."""
    body = re.search(r"<tbody>(.*?)</tbody>", text, re.DOTALL).group(1)
    return [re.findall(r"<t[hd][^>]*>(?:<a[^>]*>)?(.*?)(?:</a>)?</t[hd]>", row) for row in body.split("</tr>")[:-1]]


def test_the_page_tells_what_was_found_and_what_it_was_made_with(tmp_path):
    cases = [case(tmp_path, "a"), case(tmp_path, "b", trust=REVIEW), case(tmp_path, "c", error="c: cut short")]
    text = page(tmp_path, cases, warnings=["text may be burned in"], left_out=[("d", "a localizer")])
    assert "2 cases predicted, 1 of them to be reviewed by someone first, 2 left out." in text
    assert text.count("Not a medical device") == 2
    for words in ("text may be burned in", "hippocampus", "ab" * 32, ">512<", ">none<", "230,159,0"):
        assert words in text
    left_out = text[text.index("<h2>Left out") : text.index("<h2>Case by case")]
    assert re.findall(r"<th scope=row>(.*?)</th>", left_out) == ["c", "d"]
    assert "c: cut short" in left_out
    assert "a localizer" in left_out
    assert rows(text) == [
        ["a", "lesion", "accept", "0.9000", "24.00", "1", "24.00", "14.14", "0.5000"],
        ["b", "lesion", "review", "0.4000", "24.00", "1", "24.00", "14.14", "0.5000"],
    ]
    headings = re.findall(r"<th scope=col[^>]*>(.*?)</th>", text)
    assert headings == [
        *("case", "class", "verdict", "expected dice", "area, mm²", "components"),
        *("largest component, mm²", "diameter, mm", "mean probability"),
    ]


def test_nothing_is_loaded_and_nothing_points_elsewhere(tmp_path):
    text = page(tmp_path, [case(tmp_path, "a")])
    assert "http" not in text
    assert "//" not in re.sub(r"base64,[^\"]+", "", text)
    parser = Nesting()
    parser.feed(text)
    for _, attributes in parser.seen:
        for key in ("src", "href"):
            assert attributes.get(key, "#").startswith(("#", "data:", "./"))
    assert not {"link", "iframe", "object"} & {tag for tag, _ in parser.seen}


def test_names_reasons_and_settings_are_escaped_everywhere(tmp_path):
    plain = page(tmp_path, [case(tmp_path, "a")])
    cases = [case(tmp_path, EVIL, trust=REVIEW, notes=(EVIL,)), case(tmp_path, EVIL, error=EVIL)]
    strange = {"colours": {EVIL: (1, 2, 3)}, "settings": {EVIL: EVIL}, "model": EVIL, "digest": EVIL}
    text = page(tmp_path, cases, warnings=[EVIL], left_out=[(EVIL, EVIL)], **strange)
    assert EVIL not in text
    assert "<b>darker" not in text
    assert text.count("<script>") == plain.count("<script>") == 1
    parser = Nesting()
    parser.feed(text)
    assert parser.wrong == []
    assert parser.open == ["html"] or parser.open == []


def test_previews_are_in_the_page_small_and_beside_it_in_full(tmp_path):
    cases = [case(tmp_path, f"case {number}", size=(300, 900)) for number in range(13)]
    text = page(tmp_path, cases)
    found = pictures(text)
    assert len(found) == 13
    assert {picture.shape for picture in found} == {(213, 640, 3)}
    links = re.findall(r'href="\./([^"]+)"', text)
    assert links[0] == "0%206_preview.png"
    assert len(links) == 13
    assert [picture.shape for picture in pictures(page(tmp_path, cases[:12]))] == [(300, 900, 3)] * 12


def test_a_preview_is_never_made_larger_and_never_too_high(tmp_path):
    small, high = case(tmp_path, "small", size=(20, 30)), case(tmp_path, "high", size=(3000, 100))
    shapes = [picture.shape for picture in pictures(page(tmp_path, [small, high]))]
    assert shapes == [(20, 30, 3), (960, 32, 3)]


def test_of_many_cases_those_to_be_reviewed_are_shown_first(tmp_path, monkeypatch):
    monkeypatch.setattr(run_page, "ENOUGH", 2)
    monkeypatch.setattr(run_page, "WIDTHS", {2: 50})
    cases = [case(tmp_path, name, trust=REVIEW if name == "d" else TRUST) for name in "abcd"]
    text = page(tmp_path, cases)
    assert len(pictures(text)) == 2
    cards = re.findall(r'<article id="(c\d)".*?<h3>(\w).*?</h3>(.*?)</article>', text)
    assert [(anchor, name, "<img" in inside) for anchor, name, inside in cards] == [
        *(("c0", "a", True), ("c1", "b", False), ("c2", "c", False), ("c3", "d", True)),
    ]
    assert "The previews of 2 more cases are files" in text


@pytest.mark.parametrize("cut", [False, True])
def test_a_preview_that_is_gone_or_damaged_is_a_link(tmp_path, cut):
    only = case(tmp_path, "a")
    only.preview.write_bytes(b"nothing") if cut else only.preview.unlink()
    text = page(tmp_path, [only])
    assert pictures(text) == []
    assert ">preview</a>" in text


def test_two_cases_of_one_name_have_their_own_places(tmp_path):
    text = page(tmp_path, [case(tmp_path, "a"), case(tmp_path, "a")])
    assert re.findall(r'href="#(c\d)"', text) == ["c0", "c1"]


def test_figures_that_nobody_has_have_no_column_and_a_missing_one_is_a_dash(tmp_path):
    empty = case(tmp_path, "a", trust=None, mask=np.zeros((6, 6), np.uint8))
    assert rows(page(tmp_path, [empty, case(tmp_path, "b", trust=None)])) == [
        ["a", "lesion", "0.000", "0", "0.000", "–", "–"],
        ["b", "lesion", "24.00", "1", "24.00", "14.14", "0.5000"],
    ]


def test_a_run_over_nothing_and_one_that_failed(tmp_path):
    assert "0 cases predicted." in page(tmp_path, [])
    text = page(tmp_path, [case(tmp_path, "a", error="a: no image")])
    assert "0 cases predicted, 1 left out." in text
    assert "<h2>What was found" not in text


def test_made_again_it_is_the_same(tmp_path):
    cases = [case(tmp_path, "a"), case(tmp_path, "b", error="b: no image")]
    assert page(tmp_path, cases) == page(tmp_path, cases)
