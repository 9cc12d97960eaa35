"""The demonstration runs from nothing and leaves one page that needs nothing else."""

from html.parser import HTMLParser

import numpy as np
import pytest

import segkit
from segkit.data.synthetic import draw_cells
from segkit.demo import demo
from segkit.demo_page import Command, Example, Row, demo_page
from segkit.errors import UsageError
from segkit.recipe_file import load_recipe


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_whole_way(small_demo, tmp_path, capsys):
    result = demo(tmp_path / "out", seed=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(result.page) == str(tmp_path / "out" / "index.html")
    assert [line[:3] for line in lines if line[1:3] == "/4"] == ["1/4", "2/4", "3/4", "4/4"]

    assert segkit.load(result.model).names == ("swin_fpn", "resnet18_unet")
    assert load_recipe(result.model.parent / "recipe.yaml").train.seed == 3
    assert list(result.dice) == ["ensemble", "swin_fpn", "resnet18_unet"]
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == [
        "cells_007_disagreement.png",
        "cells_007_entropy.png",
        "cells_007_mask.png",
        "cells_007_overlay.png",
    ]

    page = Page(result.page.read_text(encoding="utf-8"))
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 5
    assert all(picture["src"].startswith("data:image/png;base64,") and picture["alt"] for picture in pictures)
    assert not any(tag in ("script", "link", "iframe") for tag, _ in page.elements)
    for name, dice in result.dice.items():
        assert name in page.text
        assert f"{dice:.4f}" in page.text


def test_it_can_be_run_again_in_the_same_place(small_demo, tmp_path):
    first, second = demo(tmp_path / "out"), demo(tmp_path / "out")
    assert first.model != second.model
    assert first.page == second.page
    assert first.dice == second.dice


def test_it_does_not_write_among_other_things(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not empty and not an earlier demonstration"):
        demo(tmp_path)
    own = draw_cells(tmp_path / "own" / "cells", images=3, size=32)
    (own / "images" / "cells_000.png").rename(own / "images" / "well_01.png")
    with pytest.raises(UsageError, match="not empty and not an earlier demonstration"):
        demo(tmp_path / "own")


def test_the_page_escapes_what_it_is_given():
    evil = '<script>"&'
    html = demo_page(
        lead=evil,
        headings=[evil],
        rows=[Row(evil, evil, (0.5,))],
        footnote=evil,
        examples=[Example(evil, evil, {evil: np.zeros((2, 3, 3), np.uint8)})],
        commands=[Command(evil, evil)],
        colophon=evil,
    )
    page = Page(html)
    assert "<script>" not in html
    assert page.text.count(evil) == 11
    assert ("img", {"alt": f"{evil}: {evil}", "width": "3", "height": "2"}) in [
        (tag, {key: value for key, value in attributes.items() if key != "src"}) for tag, attributes in page.elements
    ]


@pytest.mark.slow
def test_the_real_one_is_quick_and_good(tmp_path):
    result = demo(tmp_path / "out")
    assert result.seconds < 240
    assert result.dice["ensemble"] >= 0.90
    assert result.dice["ensemble"] >= max(result.dice.values()) - 0.002
