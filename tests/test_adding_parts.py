"""The page on adding parts: its package, recipe, code and commands, in a folder that has nothing but them."""

import re
import sys
from pathlib import Path

import pytest
import torch
from page_blocks import words_of

import segkit
import segkit.training.run
from segkit.cli.main import main
from segkit.errors import ModelError
from segkit.recipe_file import load_recipe

PAGE = (Path(__file__).parent.parent / "docs" / "adding_parts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"# (\S+\.(?:py|yaml))\n")
FILES = {TITLE.match(text)[1]: text for _, text in BLOCKS if TITLE.match(text)}
SNIPPETS = [text for kind, text in BLOCKS if kind == "python" and not TITLE.match(text)]
SHORT = ["train.epochs=1", "train.batch=2", "train.workers=0", "data.crop=32"]


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        del sys.modules[name]


@pytest.fixture
def own(workplace, monkeypatch):
    """The reader's folder: the page's files, and training cut down to seconds."""
    (workplace / "mypackage").mkdir()
    for name, text in FILES.items():
        (workplace / name).write_text(text)
    whole = segkit.training.run.train

    def short(recipe, data=None, overrides=(), **options):
        return whole(recipe, data, [*overrides, *SHORT], **options)

    monkeypatch.setattr("segkit.training.run.train", short)
    monkeypatch.syspath_prepend(workplace)
    yield workplace
    forget()


def create(model):
    parts = {part: getattr(model, part).model_dump() for part in ("backbone", "neck", "head")}
    return segkit.Segmenter.create(**parts, classes=["background", "cell"]).eval()


def run(block):
    values = {}
    exec(compile(block, "adding_parts.md", "exec"), values)
    return values["model"]


def test_each_part_is_twenty_lines_at_most():
    for name in ("backbones", "necks", "heads"):
        code = [line for line in FILES[f"mypackage/{name}.py"].splitlines()[1:] if line.strip()]
        assert len(code) <= 20, name


def test_a_recipe_of_three_own_parts_makes_a_model_that_is_saved_and_loaded(own):
    model = create(load_recipe("own.yaml").model)
    assert {type(part).__name__ for part in (model.backbone, model.neck, model.head)} == {"Plain", "Sum", "Perceptron"}
    assert model.backbone.channels == (8, 16, 32)  # the recipe's width
    image = torch.rand(2, 3, 33, 47)
    logits = model(image)
    assert logits.shape == (2, 1, 33, 47)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert torch.equal(segkit.load(segkit.save(model, own / "saved"))(image), logits)


def test_what_the_python_comment_says(own):
    assert list(run(SNIPPETS[0])(torch.rand(2, 3, 97, 130)).shape) == [2, 1, 97, 130]


def test_training_prediction_and_loading_in_a_program_of_its_own_each(own, capsys):
    (commands,) = (text for kind, text in BLOCKS if kind == "bash")
    for line in commands.splitlines():
        program, *words = words_of(line)
        assert program == "segkit"
        assert main(words) == 0, capsys.readouterr().err
        forget()
    assert len(list((own / "masks").glob("*_mask.png"))) == 2
    assert isinstance(run(SNIPPETS[1]), segkit.Segmenter)


def test_a_model_file_imports_nothing(own, capsys):
    folder = segkit.save(create(load_recipe("own.yaml").model), own / "saved")
    forget()
    message = "has the backbone 'mypackage.backbones:Plain', code that is not part of the model; if you trust it, "
    with pytest.raises(ModelError, match=message + r"'import mypackage\.backbones' before loading"):
        segkit.load(folder)
    assert not [name for name in sys.modules if name.startswith("mypackage")]


def test_a_module_that_cannot_be_imported_is_named(own, capsys):
    assert main(["--import", "mypackag", "models"]) == 2
    message = "--import mypackag: No module named 'mypackag'; install its package, or put its folder on PYTHONPATH"
    assert capsys.readouterr().err == f"error: {message}\n"
