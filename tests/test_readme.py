"""Every block of the README does what the README says, in a folder that looks like the one it describes."""

import re
from pathlib import Path

import pytest
import yaml
from page_blocks import words_of

import segkit
import segkit.training.run
from segkit.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SET_UP = "python3 -m venv "


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


def titled(language):
    """YAML blocks by the file name in their first line."""
    return {text.splitlines()[0].removeprefix("# "): text for text in blocks(language)}


@pytest.fixture
def readers_folder(workplace, tiny, monkeypatch):
    """The folder the README speaks of: its recipe, its model, and training cut down to seconds."""
    (workplace / "cells.yaml").write_text(titled("yaml")["cells.yaml"])
    (workplace / "runs" / "demo").rename(workplace / "runs" / "cells")
    whole = segkit.training.run.train

    def short(recipe, data=None, overrides=(), **options):
        return whole(recipe, data, [*overrides, *tiny], **options)

    monkeypatch.setattr("segkit.training.run.train", short)
    return workplace


def test_every_block_is_of_a_kind_that_is_tested_here():
    assert {kind for kind, _ in BLOCKS} == {"bash", "python", "yaml", "text"}


def test_the_two_commands_set_up_everything_themselves():
    lines = [line for text in blocks("bash") for line in text.splitlines() if line.startswith(SET_UP)]
    demo, tests = lines
    assert demo.endswith(" && .venv/bin/segkit demo")
    assert " -m pytest " in tests
    for line in lines:
        assert f"\n```bash\n{line}\n```\n" in README  # alone in its block


def test_ci_takes_its_set_up_from_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"sed -n '/(.+)/p' README.md", script).group(1)
    found = [line for line in README.splitlines() if re.search(pattern, line)]
    assert len(found) == 1
    assert "pip install" not in script.replace("-m pip install --quiet --no-deps", "")


@pytest.mark.parametrize("block", [text for text in blocks("bash") if not text.startswith(SET_UP)])
def test_commands(block, readers_folder, capsys):
    for line in block.splitlines():
        program, *words = words_of(line)
        assert program == "segkit"
        assert main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize("block", blocks("python"))
def test_python(block, readers_folder, monkeypatch):
    monkeypatch.setattr(segkit, "train", segkit.training.run.train, raising=False)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def test_what_the_python_comments_say():
    values = {}
    exec(compile(blocks("python")[1], "README.md", "exec"), values)
    assert list(values["pixels"].probabilities.shape) == [1, 1, 97, 130]
    assert list(values["pixels"].mutual_information.shape) == [1, 97, 130]


def test_the_dataset_is_one(workplace):
    folder = workplace / "described"
    text = titled("yaml")["dataset.yaml"]
    names = [name for split in yaml.safe_load(text)["splits"].values() for name in split]
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True)
        for name, source in zip(names, sorted((workplace / "cells" / place).iterdir()), strict=True):
            source.rename(folder / place / f"{name}.png")
    (folder / "dataset.yaml").write_text(text)
    dataset = segkit.open_dataset(folder)
    assert dataset.classes == ("background", "cell")
    assert [len(dataset.samples(split)) for split in ("train", "val", "test")] == [3, 1, 2]


def test_the_recipe_is_one(workplace):
    from segkit.recipe_file import load_recipe

    (workplace / "cells.yaml").write_text(titled("yaml")["cells.yaml"])
    recipe = load_recipe("cells.yaml")
    assert [member.name for member in recipe.members()] == ["swin", "resnet"]
    assert recipe.train.epochs == 60


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target.partition("#")[0]).exists(), target
