"""The report's page: everything in it, nothing from elsewhere, every value escaped."""

from html.parser import HTMLParser

import numpy as np
import pytest

from segkit.evaluation.comparison import Comparison, compare
from segkit.evaluation.report import Report, evaluate
from segkit.evaluation.worst import Example

EVIL = '<script>"&'


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether all that is opened is closed."""

    VOID = ("meta", "img", "br", "wbr", "line", "rect", "polyline", "html")

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def report(prepared):
    return evaluate(prepared / "runs" / "demo" / "model", prepared / "cells", "train", threshold_from="val")


def test_all_parts_are_there(report):
    page = Page(report.page())
    assert page.open == []
    for part in ("Scores", "Calibration", "Errors and uncertainty", "Threshold", "Every image by itself", "The worst"):
        assert part in page.text
    assert page.count("svg") == 4
    assert page.count("img") == 5 * len(report.worst)
    for name in ("ensemble", *report.members):
        assert name in page.text
    assert f"{report.metrics['calibration']['ece']:.4f}" in page.text
    assert "2·TP / (2·TP + FP + FN)" in page.text


def test_nothing_is_loaded_from_elsewhere(report):
    page = Page(report.page())
    assert all(
        attributes["src"].startswith("data:image/") and attributes["alt"]
        for tag, attributes in page.elements
        if tag == "img"
    )
    assert not any(tag in ("script", "link", "iframe") for tag, _ in page.elements)
    assert "http" not in report.page()


def test_every_value_is_escaped(report):
    def renamed(values):
        if isinstance(values, dict):
            return {EVIL if key == "cell" else key: renamed(value) for key, value in values.items()}
        if isinstance(values, list):
            return [renamed(value) for value in values]
        return EVIL if values == "cell" else values

    names = {"model": EVIL, "data": EVIL, "split": EVIL, "notes": [EVIL], "region": EVIL}
    metrics = {**renamed(report.metrics), **names}
    metrics["worst"]["by"] = EVIL
    metrics["images"] = [{**image, "name": EVIL} for image in metrics["images"]]
    worst = (Example(0.5, 0, EVIL, {EVIL: np.zeros((2, 3, 3), np.uint8)}),)
    units = (np.arange(len(metrics["images"])), "image")
    evil = Report(metrics, {EVIL: metrics}, worst, report.counts, units)
    assert "<script>" not in evil.page()
    Page(evil.page())
    row = {"of": EVIL, "averaged": EVIL, "first": 0.1, "second": 0.2, "difference": 0.1, "interval": [0, 1], "p": 0.5}
    pair = {
        "scores": [row],
        "images": [{"name": EVIL, "first": i / 4, "second": 0.5} for i in range(4)],
        "better": {"first": 1, "second": 2, "equal": 1},
        "score_of_an_image": EVIL,
        "unit": "image",
        "units": 4,
        "level": 0.95,
        "resamples": 9,
        "exchanges": 16,
    }
    page = Comparison({EVIL: evil, "b": evil}, {"b": pair}).page()
    assert "<script>" not in page
    assert Page(page).open == []


def test_the_page_of_many_classes_says_what_is_taken_for_what(tmp_path):
    import cv2
    import yaml

    for name in ("a", "b"):
        for folder, mask in (("masks", [[0, 1, 2, 255]]), ("reader", [[0, 1, 1, 0]])):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), np.array(mask, np.uint8))
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((1, 4, 3), np.uint8))
    description = {"classes": ["sky", "road", "car"], "splits": {"test": ["a", "b"]}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
    page = Page(evaluate(tmp_path / "reader", tmp_path).page())
    assert page.open == []
    assert "What is taken for what" in page.text
    assert "Masks have no probabilities" in page.text
    assert "another class" in page.text
    assert "found, but not there" not in page.text
    both = compare([tmp_path / "reader", tmp_path / "masks"], tmp_path)
    assert "mean IoU, pooled: B is 0.5000 above A" in Page(both.page()).text
