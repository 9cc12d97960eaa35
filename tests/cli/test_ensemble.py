"""``segkit ensemble``: models put together, fitted and looked into, as on the command line."""

import json

import pytest
import torch

from segkit import load, save
from segkit.cli.main import main
from segkit.model import Segmenter


def single(seed, classes=("background", "cell"), **about):
    torch.manual_seed(seed)
    model = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=list(classes)).eval()
    model.about = about
    return model


@pytest.fixture
def models(workplace):
    """Two runs' models beside the demonstration's ensemble."""
    for seed, name in enumerate(("plain", "odd name")):
        save(single(seed), workplace / "runs" / name / "model")
    return workplace


def test_models_become_members_named_after_their_runs(models, capsys):
    sources = ["runs/plain/model", "runs/odd name/model", "runs/demo/model", "runs/plain/model"]
    assert main(["ensemble", *sources, "-o", "all"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("5 members, combined by mean\n")
    assert out.endswith("ensemble saved in all\n")
    ensemble = load("all")
    assert ensemble.names == ("plain", "odd-name", "swin_fpn", "stem_unet", "plain-2")
    image = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        parts = [load("runs/plain/model"), load("runs/odd name/model"), *load("runs/demo/model").members]
        expected = torch.stack([part.probabilities(image) for part in [*parts, parts[0]]]).mean(0)
        torch.testing.assert_close(ensemble(image), expected)


def test_logits_are_averaged_where_they_are_asked_for(models):
    assert main(["ensemble", "runs/plain/model", "runs/demo/model", "--mean-of", "logits", "-o", "mean"]) == 0
    assert load("mean").combination.name == "logit_mean"


def test_build_may_be_said_and_options_may_come_first(models):
    assert main(["ensemble", "build", "runs/plain/model", "runs/demo/model", "-o", "a"]) == 0
    assert main(["ensemble", "-o", "b", "runs/plain/model", "runs/demo/model"]) == 0
    assert load("a").names == load("b").names


@pytest.mark.parametrize("option", ["--tile 32", "--tta flip", "--split test", "--no-temperature", "--overlap 0.2"])
def test_what_is_about_fitting_needs_a_dataset(option, models, capsys):
    assert main(["ensemble", "runs/plain/model", "runs/demo/model", "-o", "mean", *option.split()]) == 2
    expected = f"error: {option.split()[0]}: is about fitting; name a dataset by --fit\n"
    assert capsys.readouterr().err == expected


def test_what_is_fitted_is_printed_and_kept_in_the_folder(models, capsys):
    command = "ensemble runs/plain/model runs/demo/model --fit cells --split train --weights class -o fitted --json"
    assert main(command.split()) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["combination"] == "mean"
    assert printed["score"] == "Dice of cell, pooled"
    assert set(printed["alone"]) == set(printed["names"]) == {"plain", "swin_fpn", "stem_unet"}
    assert printed["notes"][0].startswith("class: loss on pictures it wasn't fitted on ")
    model = load("fitted")
    assert printed["weights"] == dict(zip(model.names, model.combination.weights.tolist(), strict=True))
    assert model.about["fitted_on"]["dataset"] == "cells"
    for command in ("predict fitted images -o masks", "evaluate fitted cells", "ensemble inspect fitted cells"):
        assert main(command.split()) == 0


def test_what_members_were_trained_on_is_kept_for_the_whole(workplace):
    for name, splits in (("a", "train"), ("b", "train, val")):
        trained = {"dataset": "cells", "splits": splits, "recipe": name}
        save(single(0, trained_on=trained), workplace / name)
    assert main(["ensemble", "a", "b", "-o", "ab"]) == 0
    assert load("ab").about["trained_on"] == {"dataset": "cells", "splits": "train, val", "recipe": "a, b"}


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("ensemble runs/plain/model -o x", 2, "at least two members; name more models"),
        ("ensemble runs/plain/model nowhere -o x", 3, "nowhere: no model there"),
        ("ensemble runs/plain/model other -o x", 2, "member 'other' has classes ('background', 'tree')"),
        ("ensemble runs/plain/model runs/demo -o x", 3, "runs/demo: this is a run; its model is runs/demo/model"),
        ("ensemble runs/plain/model runs/demo/model", 2, "Missing option '-o' / '--out'"),
        ("ensemble runs/plain/model runs/demo/model -o images", 2, "images: not empty and not a saved model"),
        ("ensemble runs/plain/model runs/demo/model -o other/../runs/plain/model", 2, "one of the models that the new"),
        (
            "ensemble runs/plain/model other -o runs/demo/model",
            2,
            "runs/demo/model: the model that a training run left",
        ),
        ("ensemble soup runs/plain/model other --fit cells -o other", 2, "other: one of the models that the new"),
        ("trust runs/plain/model cells -o runs/demo/model", 2, "runs/demo/model: the model that a training run left"),
        ("postprocess runs/plain/model cells -o runs/demo/members/a/model", 2, "the model that a training run left"),
        ("ensemble runs/plain/model runs/demo/model -o x --weights best", 2, "'--weights': 'best' is not one of"),
        ("ensemble runs/plain/model runs/demo/model -o x --fit nowhere", 3, "nowhere"),
        ("ensemble runs/plain/model runs/demo/model -o x --fit cells --split old", 2, "no split 'old'"),
        ("ensemble runs/plain/model runs/demo/model -o x --weights gate", 2, "--weights gate: nothing to fit it on"),
        ("ensemble runs/demo/model -o runs/demo/model", 2, "one of the models that the new one is made of"),
        ("ensemble runs/plain/model runs/demo/model -o other/segkit.json/x", 2, "x: can't write there (Not a dir"),
        ("ensemble inspect runs/plain/model", 3, "runs/plain/model: no ensemble whose members can be looked at"),
        ("ensemble inspect runs/demo/model cells -o other", 2, "other: a model, whose files a report would overwrite"),
        ("stress runs/plain/model cells -o cells/images", 2, "cells/images: the dataset's own folder, which is no"),
        ("ensemble inspect runs/demo/model nowhere", 3, "nowhere"),
        ("ensemble inspect runs/demo/model --tta flip", 2, "--tta: is about counting; name a dataset, too"),
        ("ensemble inspect runs/demo/model --split val", 2, "--split: is about counting; name a dataset, too"),
    ],
)
def test_what_goes_wrong_is_one_line(command, code, message, models, capsys):
    save(single(0, ("background", "tree")), models / "other")
    save(single(0), models / "runs" / "demo" / "members" / "a" / "model")
    (models / "runs" / "demo" / "recipe.yaml").write_text("name: demo\n")
    assert main(command.split()) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (models / "x" / "segkit.json").exists()


def test_a_model_named_twice_and_what_is_left_behind_are_told(models, capsys):
    save(single(0, predict={"postprocess": {"smallest": "9 px"}}, trust={}), models / "a")
    assert main(["ensemble", "a", "runs/odd name/model", "runs/plain/model", "-o", "three"]) == 0
    assert capsys.readouterr().out.splitlines()[-4:-1] == [
        "plain: the same weights as a, which so counts twice; leave one of them out",
        "what is done to the masks afterwards is not taken over from a; segkit postprocess finds it for the ensemble",
        "what tells good masks from bad ones is not taken over from a; segkit trust finds it for the ensemble",
    ]
    assert "trust" not in load("three").members[0].about
    assert main(["ensemble", "runs/odd name/model", "runs/plain/model", "-o", "two"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("plain ")


def test_a_soup_is_written_and_told(models, capsys):
    for seed in range(3):
        about = {"ancestor": "one", "trained_on": {"dataset": "cells", "splits": "train"}}
        save(single(seed, **about), models / f"m{seed}")
    assert main(["ensemble", "soup", "m0", "m1", "m2", "--fit", "cells", "--split", "test", "-o", "soup"]) == 0
    scores, kept, last = capsys.readouterr().out.splitlines()
    assert scores.startswith("Dice of cell, pooled, alone: m")
    assert kept.startswith("in the soup: m")
    assert last == "model saved in soup"
    assert load("soup").about["fitted_on"]["soup_of"] == kept[len("in the soup: ") :].split("; ")[0].split(", ")


def test_figures_take_the_place_of_no_others(models, capsys):
    commands = {
        "inside": "ensemble inspect runs/demo/model cells",
        "stress": "stress runs/demo/model cells --kind contrast",
        "report": "evaluate runs/demo/model cells",
    }
    for out, command in commands.items():
        for _ in range(2):
            assert main([*command.split(), "-o", out]) == 0
    capsys.readouterr()
    for out, other in (("inside", "stress"), ("stress", "inside"), ("report", "inside"), ("inside", "report")):
        table = (models / out / "table.txt").read_text()
        assert main([*commands[other].split(), "-o", out]) == 2
        found = capsys.readouterr().err
        assert found.startswith(f"error: {out}: its table.txt is something else's, which a report would overwrite; ")
        assert (models / out / "table.txt").read_text() == table
