"""The page on adding parts: its package, recipe, code and commands, in a folder that has nothing but them."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from page_blocks import words_of

import segkit
import segkit.training.run
from segkit.cli.main import main
from segkit.errors import ModelError, RecipeError, UsageError
from segkit.recipe_file import load_recipe
from segkit.training.losses import build_loss

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
    for name in ("backbones", "necks", "heads", "bridges", "losses"):
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


@pytest.mark.parametrize("width", ["8", 0, 2.5])
def test_options_are_held_to_the_types_of_the_page_s_parts(own, width):
    for part, name in (("backbone", "backbones:Plain"), ("neck", "necks:Sum"), ("head", "heads:Perceptron")):
        named = {"backbone": "stem", part: {"name": f"mypackage.{name}", "width": width}}
        with pytest.raises(UsageError, match=rf"^{part} 'mypackage\.{name}': width is {width!r}; expected [1a]"):
            segkit.Segmenter.create(**named, classes=2)


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
    message = (
        "--import mypackag: No module named 'mypackag'; install its package, or put the folder that it lies in on "
        "PYTHONPATH"
    )
    assert capsys.readouterr().err == f"error: {message}\n"


def test_the_loss_of_ones_own_is_the_brier_score_and_learns_nothing_from_what_is_ignored(own):
    load_recipe("own.yaml")
    loss = build_loss({"mypackage.losses:Distance": {"power": 2}}, task="multiclass", classes=3)
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 5))
    target[:, 0] = 255
    value = loss(logits, target)
    truth = torch.nn.functional.one_hot(target[:, 1:], 3).movedim(-1, 1)
    assert torch.allclose(value, (logits.softmax(1)[:, :, 1:] - truth).square().mean())
    value.backward()
    assert logits.grad[:, :, 0].abs().sum() == 0
    assert logits.grad[:, :, 1:].abs().sum() > 0


def test_the_trained_loss_is_the_sum_that_the_recipe_names(own):
    recipe = load_recipe("own.yaml")
    logits, target = torch.randn(1, 1, 3, 3), torch.randint(0, 2, (1, 3, 3))
    together, entropy, distance = (
        build_loss(terms, task="binary", classes=2)(logits, target)
        for terms in (recipe.loss, {"cross_entropy": 1.0}, {"mypackage.losses:Distance": 1.0})
    )
    assert torch.isclose(together, entropy + 0.5 * distance)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"mypackage.losses:Distanc": 1.0}, r"has no class 'Distanc'; did you mean 'Distance'\?"),
        ({"mypackage.heads:Perceptron": 1.0}, r"expected a subclass of segkit\.training\.loss\.Loss"),
        ({"mypackage.los:Distance": 1.0}, r"no module 'mypackage\.los' here; install its package"),
        (
            {"mypackage.losses:Distance": {"pover": 2}},
            r"has no option 'pover'; it takes: power\. Did you mean 'power'\?",
        ),
        ({"mypackage.losses:Distance": {"task": "binary"}}, r"has no option 'task'"),
        ({"mypackage.losses:Distance": {"weight": -1}}, r"weight: -1; expected 0 or more"),
        ({"segkit.training.loss:Loss": 1.0}, r"the class is unfinished, it has no forward"),
    ],
)
def test_a_wrong_loss_of_ones_own_is_one_line(own, terms, message):
    load_recipe("own.yaml")
    with pytest.raises(RecipeError, match=message) as raised:
        build_loss(terms, task="binary", classes=2)
    assert "\n" not in str(raised.value)


def test_files_of_another_format_are_predicted_and_become_a_dataset(own, capsys):
    segkit.save(create(load_recipe("own.yaml").model), own / "runs" / "own" / "model")
    forget()  # the page imports what it needs
    (own / "camera").mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        random.integers(0, 256, (96, 128), np.uint8).tofile(own / "camera" / f"{name}.raw")
    for snippet in SNIPPETS[2:]:
        exec(compile(snippet, "adding_parts.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["2 (96, 128) uint8", "('background', 'foreground')"]
    first = np.fromfile(own / "camera" / "a.raw", np.uint8).reshape(96, 128)
    assert np.array_equal(segkit.open_dataset("mine").read_mask(segkit.open_dataset("mine").files["a"]), first > 128)
