"""Documents that Hypothesis writes, and what the readers make of them."""

import json
from pathlib import Path

import pytest
import yaml

import segkit
from segkit.errors import SegkitError
from segkit.recipe_file import load_recipe


@pytest.fixture
def try_documents(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from fuzz_documents import try_documents

    return try_documents


def test_the_smallest_document_that_fails_comes_out(try_documents):
    def act(document):
        assert isinstance(document.get("few"), list), document

    with pytest.raises(AssertionError) as raised:
        try_documents({"few": [1, 2], "many": 7}, act, 200, 0)
    smallest = str(raised.value).splitlines()[0]
    assert "'many': 7" in smallest
    assert "[" not in smallest


@pytest.mark.parametrize("kind", ["recipe", "dataset", "model"])
def test_any_document_is_read_or_refused_in_one_line(kind, try_documents, workplace):
    file, read = {
        "recipe": ("small.yaml", lambda: load_recipe("small.yaml")),
        "dataset": ("cells/dataset.yaml", lambda: segkit.open_dataset("cells")),
        "model": ("runs/demo/model/segkit.json", lambda: segkit.load("runs/demo/model")),
    }[kind]
    errors, fine = [], []

    def act(document):
        Path(file).write_text(json.dumps(document) if kind == "model" else yaml.safe_dump(document, allow_unicode=True))
        try:
            fine.append(read())
        except SegkitError as error:
            errors.append(str(error))

    try_documents(yaml.safe_load(Path(file).read_text()), act, 60, 0)
    assert fine
    assert errors
    assert [error for error in errors if "\n" in error] == []
