"""The objective of colour and depth, from a dataset's folder to the backbones that start a bridged segmenter."""

import csv
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from segkit.data.folder import open_dataset
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, RecipeError, UsageError
from segkit.model import Segmenter
from segkit.pretraining.colour_depth import create
from segkit.pretraining.recipe import PretrainRecipe

TINY = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
ENCODING = {"name": "metres", "per_picture": True}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return draw_cells(tmp_path_factory.mktemp("cells"), images=10, size=48, splits=(0.6, 0.3, 0.1))


def unmeasured(cells, copy, pictures):
    """A copy of the dataset, nothing measured in the depth of the first held-out pictures."""
    shutil.copytree(cells, copy)
    for sample in open_dataset(copy).samples("val")[:pictures]:
        cv2.imwrite(str(sample.depth), np.zeros_like(cv2.imread(str(sample.depth), cv2.IMREAD_UNCHANGED)))
    return copy


def test_pictures_whose_depth_has_nothing_measured_are_not_looked_for(cells, tmp_path):
    objective = objective_of(unmeasured(cells, tmp_path / "two", 1))
    objective.prepare()
    objective.model.eval()
    figures = objective.validate()
    assert {figures[f"r1_to_{side}"] * 2 % 1 for side in ("depth", "colour")} == {0.0}  # of two pictures
    assert figures["r5"] == 1.0
    objective.save(tmp_path)
    with (tmp_path / "retrieval.csv").open() as file:
        assert [row["picture"] for row in csv.DictReader(file)] == [each.name for each in objective.held_out[1:]]
    objective = objective_of(unmeasured(cells, tmp_path / "none", 3))
    objective.prepare()
    with pytest.raises(DataError, match="none: nothing is measured in the depth of any held-out picture"):
        objective.validate()


def recipe_of(path, data=None, **options):
    if options.get("dense") != 0:
        options = {"points": 6, "radius": 4, **options}
    return PretrainRecipe.model_validate(
        {
            "name": "space",
            "data": {"path": str(path), "size": 40, **(data or {})},
            "model": {"backbone": TINY, "depth": TINY},
            "colour_depth": {"dim": 8, "shift": 8, "encoding": ENCODING, **options},
            "train": {"batch": 3, "workers": 0},
        }
    )


def objective_of(path, data=None, **options):
    torch.manual_seed(0)
    return create(recipe_of(path, data, **options), torch.device("cpu"))


def test_it_learns_measures_and_leaves_what_starts_a_bridged_model(cells, tmp_path):
    objective = objective_of(cells)
    notes = objective.prepare()
    assert any("3 pictures of val held out: r1 is 33.3% by chance" in note for note in notes)
    assert len(objective.epoch(0)) == 2
    before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    optimizer = torch.optim.Adam(objective.model.parameters(), lr=1e-3)
    for batch in objective.epoch(0):
        loss, further = objective.loss(batch)
        assert set(further) == {"image_loss", "dense_loss", "image_temperature", "dense_temperature"}
        loss.backward()
        optimizer.step()
    after = objective.model.state_dict()
    for name in ("image_loss.log_scale", "dense_loss.log_scale", "colour.patch_embedding.0.weight"):
        if name in before:
            assert not torch.equal(before[name], after[name])
    objective.model.eval()
    figures = objective.validate()
    assert objective.headline in figures
    assert set(figures) == {"r1", "r1_to_depth", "r1_to_colour", "r5", "r5_to_depth", "r5_to_colour", "dense_r1"}
    assert all(0 <= value <= 1 for value in figures.values())

    objective.save(tmp_path)
    with (tmp_path / "retrieval.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == [sample.name for sample in objective.held_out]
    shares = [sum(row[f"rank_{way}"] == "1" for row in rows) / 3 for way in ("to_depth", "to_colour")]
    assert shares == pytest.approx([figures["r1_to_depth"], figures["r1_to_colour"]])

    segmenter = Segmenter.create(
        {**TINY, "weights": str(tmp_path / "backbone.safetensors")},
        depth={**TINY, "weights": str(tmp_path / "depth.safetensors")},
        encoding=ENCODING,
        classes=2,
    )
    for part, own in (("colour", segmenter.backbone.colour), ("depth", segmenter.backbone.depth)):
        for name, tensor in own.state_dict().items():
            assert torch.equal(tensor, after[f"{part}.{name}"])
    rest = load_file(tmp_path / "projections.safetensors")
    assert rest["image_loss.log_scale"] == after["image_loss.log_scale"]
    depth = torch.rand(1, 2, 40, 40).round(decimals=1) + torch.tensor([1.0, 0]).view(1, 2, 1, 1)
    depth[:, 1] = 1
    torch.testing.assert_close(segmenter.encoding(depth), objective.model.encoding(depth))


def test_an_epoch_is_the_same_every_time(cells):
    objective = objective_of(cells)
    objective.prepare()
    once, again = (list(objective.epoch(2)) for _ in range(2))
    assert [batch["name"] for batch in once] == [batch["name"] for batch in again]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(once, again, strict=True))


def test_places_alone_have_their_own_headline(cells, tmp_path):
    objective = objective_of(cells, image=0)
    objective.prepare()
    objective.model.eval()
    assert objective.headline == "dense_r1"
    assert set(objective.validate()) == {"dense_r1"}
    objective.save(tmp_path)
    assert not (tmp_path / "retrieval.csv").exists()


def test_what_is_learnt_from_decides_the_digest(cells, tmp_path):
    digest = objective_of(cells).digest
    assert objective_of(draw_cells(tmp_path, images=10, size=48, splits=(0.6, 0.3, 0.1))).digest == digest  # a copy
    assert objective_of(cells, {"train_on": ["train", "test"]}).digest != digest
    assert objective_of(cells, encoding=None).digest != digest


def test_what_cannot_be_used_is_named(cells, tmp_path):
    with pytest.raises(UsageError, match="no split 'vall'; did you mean 'val'"):
        objective_of(cells, {"validate_on": "vall"})
    one = recipe_of(cells)
    one.train.batch = 1
    with pytest.raises(RecipeError, match=r"train\.batch=1: a pair is told from the others"):
        create(one, torch.device("cpu"))
    other = draw_cells(tmp_path, images=4, size=48)
    for number in (0, 1):  # of train
        (other / "depth" / f"cells_00{number}.png").unlink()
    with pytest.raises(DataError, match="0 pictures of train have a file in depth/"):
        objective_of(other)


@pytest.mark.parametrize("encoding", [None, {"name": "inverse"}])
def test_metres_are_normalised_at_the_zoom_that_they_are_seen_at(cells, encoding):
    small = objective_of(cells, {"size": 20}, encoding=encoding, holes=0)
    small.prepare()
    encoded = [small.colour_depth.encoding(batch["depth"]) for batch in small.epoch(0)]
    values = torch.cat([each[:, 0][each[:, -1] > 0] for each in encoded])
    assert abs(float(values.mean())) < 0.5
    assert float(values.std()) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({"size": 16}, {"shift": 9}, r"colour_depth.shift=9: .* share too little of data.size=16; take 8 or less"),
        ({"share": 0.5}, {}, "data.share is of images alone; colour_depth sees pictures whole"),
    ],
)
def test_windows_that_share_too_little_and_what_is_of_images_alone_are_refused(cells, data, options, message):
    with pytest.raises(ValueError, match=message):
        recipe_of(cells, data, **options)


def test_a_folder_without_masks_is_learnt_from_alike(cells, tmp_path):
    bare = tmp_path / cells.name
    shutil.copytree(cells, bare)
    shutil.rmtree(bare / "masks")
    said = yaml.safe_load((cells / "dataset.yaml").read_text())
    without = {key: value for key, value in said.items() if key not in ("classes", "background")}
    (bare / "dataset.yaml").write_text(yaml.safe_dump(without))
    found, expected = objective_of(bare), objective_of(cells)
    assert [sample.name for sample in found.samples] == [sample.name for sample in expected.samples]
    assert found.digest == expected.digest
    del without["splits"]
    (bare / "dataset.yaml").write_text(yaml.safe_dump(without))
    assert sum(map(len, open_dataset(bare, masks=False).splits.values())) == 10
