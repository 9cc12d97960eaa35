import importlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from segkit import Classifier, Ensemble, Segmenter, load, save
from segkit.artifact import check_draws_masks, draws_masks, load_segmentation
from segkit.artifact.kinds import KINDS
from segkit.errors import ModelError, UsageError

IMAGE = torch.rand(1, 3, 20, 14, generator=torch.Generator().manual_seed(3))


def segmenter(seed=0, **changes):
    torch.manual_seed(seed)
    parts = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}, "classes": 3}
    return Segmenter.create(**{**parts, **changes}).eval()


@pytest.fixture
def saved(tmp_path):
    model = segmenter()
    model.about = {"trained_on": {"dataset": "cells"}, "metrics": {"dice": 0.9}, "predict": {"tile": 64}}
    return save(model, tmp_path / "model"), model


def test_a_segmenter_comes_back_equal(saved):
    folder, model = saved
    again = load(folder)
    assert torch.equal(again(IMAGE), model(IMAGE))
    assert {k: v.tolist() for k, v in again.state_dict().items()} == {
        k: v.tolist() for k, v in model.state_dict().items()
    }
    assert (again.task, again.classes, again.background, again.reader, again.about) == (
        model.task,
        model.classes,
        model.background,
        model.reader,
        model.about,
    )
    assert not again.training


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": {"name": "swin", "embed_dim": 12, "depths": [1], "heads": [2]}, "stem": 4, "neck": "fpn"},
        {"in_channels": 1, "window": (0, 400), "mean": [0.1], "std": [0.2]},
        {"classes": ["a", "b"], "task": "multilabel"},
        {"classes": ["dog", "cat", "tree"], "background": "cat"},
        {"output_size": (3, 4)},
    ],
)
def test_every_kind_of_segmenter_comes_back_equal(tmp_path, changes):
    model = segmenter(**changes)
    again = load(save(model, tmp_path / "m"))
    image = IMAGE[:, : model.reader.channels]
    assert torch.equal(again(image), model(image))
    assert (again.reader, again.background, again.task) == (model.reader, model.background, model.task)


@pytest.mark.parametrize("weights", [None, [0.7, 0.3], [[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]]])
def test_an_ensemble_comes_back_equal(tmp_path, weights):
    model = Ensemble([segmenter(1), segmenter(2)], None if weights is None else torch.tensor(weights), names=["a", "b"])
    again = load(save(model.eval(), tmp_path / "m"))
    assert torch.equal(again(IMAGE), model(IMAGE))
    assert again.names == ("a", "b")


def test_a_zip_of_the_folder_loads_too(saved, tmp_path):
    folder, model = saved
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "model")
    assert torch.equal(load(archive)(IMAGE), model(IMAGE))


def test_auxiliary_heads_are_not_saved(tmp_path):
    model = segmenter(stem=False, auxiliary=0, backbone={"name": "stem", "width": 4, "depth": 3}, neck={"name": "unet"})
    with_heads = segmenter(auxiliary=1, backbone={"name": "stem", "width": 4, "depth": 3}, neck={"name": "unet"})
    again = load(save(with_heads, tmp_path / "m"))
    assert set(again.state_dict()) == set(model.state_dict())
    assert torch.equal(again(IMAGE), with_heads(IMAGE))


def test_saving_again_replaces_the_tensors_and_leaves_no_other_file(saved):
    folder, _ = saved
    other = segmenter(5)
    save(other, folder)
    assert torch.equal(load(folder)(IMAGE), other(IMAGE))
    assert len(list(folder.iterdir())) == 3


def test_a_save_that_is_stopped_leaves_the_old_model(saved, monkeypatch):
    folder, model = saved
    from segkit.artifact import saving

    write = saving.write_whole

    def stops_before_the_description(path, content):
        if path.name == saving.DESCRIPTION:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(saving, "write_whole", stops_before_the_description)
    with pytest.raises(KeyboardInterrupt):
        save(segmenter(5), folder)
    assert torch.equal(load(folder)(IMAGE), model(IMAGE))


def test_files_beside_the_model_are_left_alone(saved):
    folder, _ = saved
    (folder / "mine.safetensors").write_bytes(b"precious")
    save(segmenter(5), folder)
    assert (folder / "mine.safetensors").read_bytes() == b"precious"
    assert len(list(folder.glob("*.safetensors"))) == 2


def test_a_run_is_told_from_its_model(saved):
    folder, _ = saved
    with pytest.raises(ModelError, match=r"this is a run; its model is .*model"):
        load(folder.parent)


def test_a_damaged_zip_is_named(saved, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "model"))
    content = bytearray(archive.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    archive.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        load(archive)


def test_the_card_tells_what_it_is(saved):
    card = (saved[0] / "README.md").read_text()
    assert "dataset: cells" in card
    assert "dice: 0.9" in card


def change(folder, **values):
    path = folder / "segkit.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_damage_is_named(saved, tmp_path):
    folder, _ = saved
    with pytest.raises(ModelError, match="no model there"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"segkit\.json is missing"):
        load(tmp_path / "empty")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(ModelError, match="neither a model folder nor a zip"):
        load(tmp_path / "a.zip")
    tensors = next(folder.glob("*.safetensors"))
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="is damaged"):
        load(folder)
    tensors.unlink()
    with pytest.raises(ModelError, match="is missing; this is not a whole model folder"):
        load(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 99}, "has format 99, this segkit reads 2"),
        ({"classes": "x"}, "is damaged at 'classes'"),
        ({"extra": 1}, "is damaged at 'extra'"),
        ({"members": []}, "is damaged at 'members'"),
        ({"kind": "forest"}, "is damaged at 'kind'"),
    ],
)
def test_a_wrong_description_is_named(saved, values, message):
    change(saved[0], **values)
    with pytest.raises(ModelError, match=message):
        load(saved[0])


def test_a_description_that_is_no_json_is_named(saved):
    (saved[0] / "segkit.json").write_text("{")
    with pytest.raises(ModelError, match="not readable JSON"):
        load(saved[0])


def test_no_file_outside_the_folder_is_read(saved):
    members = json.loads((saved[0] / "segkit.json").read_text())["members"]
    change(saved[0], members=[{**members[0], "file": "../secret.safetensors"}])
    with pytest.raises(ModelError, match="outside the folder"):
        load(saved[0])


def test_weights_from_elsewhere_are_not_followed(saved):
    members = json.loads((saved[0] / "segkit.json").read_text())["members"]
    shape = members[0]["architecture"]
    changed = {**shape, "backbone": {**shape["backbone"], "weights": "imagenet"}}
    change(saved[0], members=[{**members[0], "architecture": changed}])
    with pytest.raises(ModelError, match="asks for weights from elsewhere"):
        load(saved[0])


def test_an_architecture_that_does_not_fit_its_tensors_is_named(saved):
    members = json.loads((saved[0] / "segkit.json").read_text())["members"]
    change(saved[0], members=[{**members[0], "architecture": {**members[0]["architecture"], "neck": {"name": "nope"}}}])
    with pytest.raises(ModelError, match="member 'model' can't be built"):
        load(saved[0])


def test_a_zip_that_claims_to_be_huge_is_refused(saved, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("segkit.json", b" " * (17 << 20))
    with pytest.raises(ModelError, match="claims 17825792 bytes unpacked; refused"):
        load(tmp_path / "bomb.zip")


def test_saving_refuses_what_it_cannot_rebuild_and_what_is_not_its_own(saved, tmp_path):
    _, model = saved
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.png").touch()
    with pytest.raises(UsageError, match="not empty and not a saved model"):
        save(model, tmp_path / "photos")
    half = tmp_path / "stopped" / f".{'0f' * 16}.safetensors"
    half.parent.mkdir()
    half.touch()
    assert load(save(model, half.parent)).classes == model.classes
    assert not half.exists()
    model.architecture = None
    with pytest.raises(UsageError, match=r"only models built with Segmenter\.create"):
        save(model, tmp_path / "new")
    with pytest.raises(UsageError, match=r"second: only models built with Segmenter\.create"):
        save(Ensemble([segmenter(), model], names=["first", "second"]), tmp_path / "both")
    assert not list((tmp_path / "both").iterdir())


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("backbone", "antigravity:Flight"),
        ("neck", {"name": "antigravity:Flight"}),
        ("head", {"name": "antigravity:Flight", "width": 4}),
        ("neck", {"name": "timm:convnext_tiny"}),  # a backbone's name; as a neck's it would be a module
    ],
)
def test_a_model_file_imports_no_module(saved, monkeypatch, part, named):
    for module in ("antigravity", "timm"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    members = json.loads((saved[0] / "segkit.json").read_text())["members"]
    change(saved[0], members=[{**members[0], "architecture": {**members[0]["architecture"], part: named}}])
    with pytest.raises(ModelError, match=rf"has the {part} '(antigravity|timm):.*not part of the model; if you trust"):
        load(saved[0])
    assert not {"antigravity", "timm"} & set(sys.modules)


def test_nothing_but_a_part_is_made_of_an_imported_module(saved):
    members = json.loads((saved[0] / "segkit.json").read_text())["members"]
    changed = {**members[0]["architecture"], "neck": {"name": "subprocess:Popen"}}
    change(saved[0], members=[{**members[0], "architecture": changed}])
    with pytest.raises(ModelError, match=r"neck 'subprocess:Popen': expected a subclass of segkit\.necks\.neck\.Neck"):
        load(saved[0])


@pytest.fixture
def saved_classifier(tmp_path):
    torch.manual_seed(0)
    shape = {"name": "swin", "embed_dim": 8, "depths": [1], "heads": [1], "window": 3}
    return save(Classifier.create(shape, classes=["cat", "dog"]), tmp_path / "classifier")


def test_a_classifier_is_told_from_what_draws_masks(saved, saved_classifier, tmp_path):
    assert draws_masks(saved[0])
    assert draws_masks(saved[0] / "segkit.json")
    assert not draws_masks(saved_classifier)
    assert not draws_masks(saved_classifier / "segkit.json")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "classifier")
    assert not draws_masks(archive)
    (tmp_path / "model.onnx").touch()
    for unknown in (tmp_path / "model.onnx", tmp_path / "nowhere", tmp_path):
        assert draws_masks(unknown)  # who loads it says what is wrong
    check_draws_masks(saved[1])
    check_draws_masks("what is no model")


@pytest.mark.parametrize("zipped", [False, True])
def test_who_needs_masks_refuses_a_classifier(saved_classifier, tmp_path, zipped):
    path = shutil.make_archive(str(tmp_path / "packed"), "zip", saved_classifier) if zipped else saved_classifier
    with pytest.raises(
        ModelError, match="a classifier, which gives a whole image one label, and masks are needed here"
    ):
        load_segmentation(path)
    with pytest.raises(ModelError, match="it is for 'segkit predict', 'segkit evaluate' on labelled images"):
        check_draws_masks(load(path))


def test_a_damaged_classifier_is_named(saved_classifier):
    values = json.loads((saved_classifier / "segkit.json").read_text())
    for changes, message in (
        ({"members": []}, "is damaged at 'members'"),
        ({"classes": []}, "is damaged at 'classes'"),
        ({"classes": ["cat"]}, "the model can't be built from its description"),
        ({"classes": ["cat", "cat"]}, "expected at least one name, each different"),
        ({"architecture": {"backbone": "nope", "in_channels": 3}}, "the model can't be built from its description"),
        ({"architecture": {"backbone": {"name": "swin", "weights": "x"}}}, "asks for weights from elsewhere"),
        ({"architecture": {"backbone": "antigravity:Flight"}}, "code that is not part of the model"),
        ({"tensors": {**values["tensors"], "file": "../x.safetensors"}}, "outside the folder"),
        ({"tensors": {**values["tensors"], "sha256": "0"}}, "is damaged"),
        ({"kind": "segmenter"}, "is damaged at"),
        ({"kind": ["classifier"]}, "is none of segmenter, ensemble, classifier"),
    ):
        (saved_classifier / "segkit.json").write_text(json.dumps({**values, **changes}))
        with pytest.raises(ModelError, match=message):
            load(saved_classifier)
    assert "antigravity" not in sys.modules


def test_a_model_of_another_kind_takes_the_place_of_one(saved, saved_classifier):
    folder, model = saved
    save(load(saved_classifier), folder)
    assert isinstance(load(folder), Classifier)
    save(model, folder)
    assert torch.equal(load(folder)(IMAGE), model(IMAGE))
    assert len(list(folder.iterdir())) == 3


def test_an_old_description_has_only_tensors_of_this_folder_removed(saved, tmp_path):
    folder, model = saved
    outside = tmp_path / "mine.safetensors"
    outside.touch()
    (folder / "notes.txt").touch()
    change(folder, about={"a": {"file": "../mine.safetensors", "sha256": ""}, "b": {"file": "notes.txt", "sha256": ""}})
    save(model, folder)
    assert outside.exists()
    assert (folder / "notes.txt").exists()


def test_every_kind_is_there_and_says_what_it_is():
    for name, kind in KINDS.items():
        description = kind.describes()
        module, _, model = kind.model.partition(":")
        assert isinstance(getattr(importlib.import_module(module), model), type)
        assert name in description.model_fields["kind"].annotation.__args__
        assert description.what.startswith(("a ", "an ", "classifiers"))
        assert description.takers
    with pytest.raises(UsageError, match="can't save int; expected one of Segmenter, Ensemble, Classifier"):
        save(3, "nowhere")


@pytest.mark.parametrize(
    "name", ["TIMM:resnet18", {"name": "joint", "of": ["Smp:resnet18", {"name": "stem", "width": 4}]}]
)
def test_a_library_may_be_named_in_any_case(name, tmp_path):
    model = segmenter(backbone=name, neck="fpn")
    again = load(save(model, tmp_path / "model"))
    assert torch.equal(again(IMAGE), model(IMAGE))


def test_what_a_killed_save_left_without_a_description_goes_with_the_next(tmp_path, monkeypatch):
    model, folder = segmenter(), tmp_path / "model"

    def killed(path, content):
        if path.name == "segkit.json":
            raise KeyboardInterrupt
        path.write_text(content)

    other = segmenter(seed=1)
    monkeypatch.setattr("segkit.artifact.saving.write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        save(other, folder)
    monkeypatch.undo()
    left = {path.name for path in folder.iterdir()}
    assert len(left) == 2
    assert "segkit.json" not in left
    save(model, folder)
    assert len(list(folder.iterdir())) == 3
    assert torch.equal(load(folder)(IMAGE), model(IMAGE))


def test_a_readme_alone_is_somebody_s(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="not empty and not a saved model"):
        save(segmenter(), tmp_path)


def test_an_architecture_without_a_part_is_named(saved):
    folder, _ = saved
    values = json.loads((folder / "segkit.json").read_text())
    del values["members"][0]["architecture"]["backbone"]
    (folder / "segkit.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=str(folder)):
        load(folder)
