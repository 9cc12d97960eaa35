"""Models that want their pictures at a resolution: what they train on, what they predict, and what is written."""

import json

import numpy as np
import pytest
import tifffile
import yaml
from medical.slide_files import area_mean, blocks, pyramid, write_plain, write_svs
from PIL import Image
from prediction.conftest import Colours
from pydantic import ValidationError

from segkit.artifact import load, save
from segkit.cli.main import main
from segkit.data.dataset import EvaluationDataset, SegmentationDataset
from segkit.data.folder import open_dataset
from segkit.data.picture import Picture, open_picture
from segkit.data.reader import Reader
from segkit.errors import DataError, RecipeError, UsageError
from segkit.evaluation.report import evaluate
from segkit.medical import slide_writing
from segkit.medical.slide import slide_of
from segkit.model import Segmenter
from segkit.prediction.fingerprint import fingerprint
from segkit.prediction.predictor import Predictor
from segkit.recipe import Recipe
from segkit.training.run import train

PIXELS = blocks(192, 256)
LEVELS = pyramid(PIXELS, 3)  # at 0.25, 0.5 and 1 micron
NET = {"name": "stem", "width": 4}
UNKNOWN = "no resolution in the file: taken as it is, for 1 microns per pixel"


def red(mpp=None):
    """A model whose probability is the red of its pixel."""
    model = Colours("binary", ["background", "tumour"], background=0)
    model.reader = Reader(mpp=mpp)
    return model


def labels_of(pixels):
    return (pixels[..., 0] / np.float32(255) >= 0.5).astype(np.uint8)


@pytest.fixture
def slide(tmp_path):
    write_svs(tmp_path / "a.svs", LEVELS)
    return tmp_path / "a.svs"


@pytest.fixture
def dataset(tmp_path):
    """Three slides, whose masks are the red of their full resolution, or of a level of theirs; and a plain picture."""
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number, name in enumerate("abc"):
        levels = pyramid(blocks(192, 256, seed=number), 3)
        write_svs(tmp_path / "data" / "images" / f"{name}.svs", levels)
        mask = Image.fromarray(labels_of(levels[0] if name != "b" else levels[1]))
        mask.save(tmp_path / "data" / "masks" / f"{name}.png")
    plain = blocks(64, 64, seed=9)
    Image.fromarray(plain).save(tmp_path / "data" / "images" / "d.png")
    Image.fromarray(labels_of(plain)).save(tmp_path / "data" / "masks" / "d.png")
    splits = {"train": ["a", "b", "d"], "val": ["c"], "test": ["c"]}
    description = {"classes": ["background", "tumour"], "splits": splits}
    (tmp_path / "data" / "dataset.yaml").write_text(yaml.safe_dump(description))
    return tmp_path / "data"


def test_a_reader_reads_the_level(slide):
    np.testing.assert_array_equal(Reader(mpp=1.0).read(slide), LEVELS[2] / np.float32(255))
    np.testing.assert_array_equal(Reader().read(slide), PIXELS / np.float32(255))
    for mpp in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"Reader\.mpp: input should be "):
            Reader(mpp=mpp)


def test_training_pictures_and_masks_come_to_the_resolution(dataset):
    folder = open_dataset(dataset)
    samples = [folder.files[name] for name in "abcd"]
    found = EvaluationDataset(folder, samples, Reader(mpp=1.0))
    for number, name in enumerate("abc"):
        levels = pyramid(blocks(192, 256, seed=number), 3)
        item = found[number]
        np.testing.assert_array_equal(item["image"].permute(1, 2, 0).numpy(), levels[2] / np.float32(255))
        # Blocks of 8 pixels are 2 here: their nearest pixels are the label of the block.
        np.testing.assert_array_equal(item["target"].numpy(), labels_of(levels[2]), err_msg=name)
    assert found[3]["image"].shape == (3, 64, 64)  # nobody knows its resolution
    crops = SegmentationDataset(folder, samples, Reader(mpp=1.0), crop=16)
    assert crops[0, 1]["image"].shape == (3, 16, 16)


def test_pictures_in_memory_are_of_one_resolution(dataset):
    folder, decoded = open_dataset(dataset), {}
    samples = [folder.files["a"]]
    for mpp, height in ((1.0, 48), (0.5, 96), (None, 192)):
        found = SegmentationDataset(folder, samples, Reader(mpp=mpp), crop=None, decoded=decoded)
        assert found[0, 0]["image"].shape[1] == height


def test_a_mask_of_no_level_is_refused(dataset):
    folder = open_dataset(dataset)
    Image.fromarray(np.zeros((100, 100), np.uint8)).save(dataset / "masks" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: mask is 100×100, its picture 64×48 \(width × height\)"):
        EvaluationDataset(folder, [folder.files["a"]], Reader(mpp=1.0))[0]


def test_regions_of_interest_follow(dataset):
    (dataset / "roi").mkdir()
    inside = np.zeros((192, 256), np.uint8)
    inside[:, :128] = 255
    for name in "abc":
        Image.fromarray(inside).save(dataset / "roi" / f"{name}.png")
    described = yaml.safe_load((dataset / "dataset.yaml").read_text())
    (dataset / "dataset.yaml").write_text(yaml.safe_dump({**described, "roi": "roi"}))
    folder = open_dataset(dataset)
    for name in "ab":  # a mask of the finest level, and one of the second
        target = EvaluationDataset(folder, [folder.files[name]], Reader(mpp=1.0))[0]["target"]
        assert (target[:, 32:] == 255).all()
        assert (target[:, :32] != 255).all()


@pytest.mark.parametrize("tile", [None, 32])
def test_a_slide_is_predicted_at_the_models_resolution(tile, slide):
    found = Predictor(red(1.0), tile=tile, precision="fp32").predict(slide)
    assert found.labels.shape == (48, 64)
    assert found.mpp == (1.0, 1.0)
    assert found.notes == ()
    np.testing.assert_array_equal(found.labels, labels_of(LEVELS[2]))
    np.testing.assert_array_equal(found.image, LEVELS[2] / np.float32(255))


def test_opened_pictures_and_arrays_are_brought_there(slide):
    predictor = Predictor(red(1.0), precision="fp32")
    for source, options in (
        (open_picture(slide), {}),
        (open_picture(slide, mpp=1.0), {}),
        (PIXELS, {"mpp": 0.25}),
        (Picture(None, PIXELS, mpp=(0.25, 0.25)), {}),
    ):
        found = predictor.predict(source, **options)
        assert found.mpp == (1.0, 1.0)
        np.testing.assert_array_equal(found.labels, labels_of(area_mean(PIXELS, 4)))
    assert predictor.predict(PIXELS).notes == (UNKNOWN,)
    assert predictor.predict(PIXELS).labels.shape == (192, 256)
    grey = predictor.predict(PIXELS[..., 0], mpp=0.5)
    np.testing.assert_array_equal(grey.labels, labels_of(area_mean(np.repeat(PIXELS[..., :1], 3, axis=2), 2)))


def test_a_model_of_any_resolution_keeps_what_is_known(slide):
    predictor = Predictor(red(), precision="fp32")
    assert predictor.predict(slide).mpp == (0.25, 0.25)
    assert predictor.predict(slide, mpp=0.5).mpp == (0.5, 0.5)
    assert predictor.predict(PIXELS, mpp=0.5).mpp == (0.5, 0.5)
    assert predictor.predict(PIXELS).mpp is None
    with pytest.raises(UsageError, match=r"mpp=0: expected microns per pixel, above 0"):
        predictor.predict(PIXELS, mpp=0)


def test_masks_lie_over_the_slide(slide, tmp_path, monkeypatch):
    for name, value in (("TILED", 16), ("LARGE", 32), ("TILE", 16)):
        monkeypatch.setattr(slide_writing, name, value)
    # So small a limit that maps are written to disk, and the slide is read in parts.
    predictor = Predictor(red(1.0), precision="fp32", limit=200_000)
    monkeypatch.setattr("segkit.prediction.line.Line._is_large", lambda *_: True)
    (outcome,) = predictor.predict_files([slide], tmp_path / "out", probability=True, entropy=True)
    assert outcome.error is None
    assert [path.name for path in outcome.paths] == ["a_mask.tif", "a_probability.tif", "a_entropy.tif"]
    mask = slide_of(tmp_path / "out" / "a_mask.tif")
    assert [(level.height, level.width) for level in mask.levels] == [(48, 64), (24, 32), (12, 16)]
    expected = [pytest.approx((mpp, mpp)) for mpp in (1, 2, 4)]
    assert [level.mpp for level in mask.levels] == expected
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a_mask.tif"), labels_of(LEVELS[2]))
    for path in outcome.paths[1:]:
        assert slide_of(path).levels[0].mpp == pytest.approx((1, 1))
    np.testing.assert_array_equal(tifffile.imread(outcome.paths[1]), LEVELS[2][..., 0] / np.float32(255))


def test_what_was_predicted_at_another_resolution_isnt_kept(slide, tmp_path):
    predictor = Predictor(red(1.0), precision="fp32")
    names = {fingerprint(predictor, threshold=0.5, kinds=["mask"], mpp=mpp) for mpp in (None, 0.25, 0.5)}
    assert len(names) == 3
    for mpp, shape, kept in ((None, (48, 64), False), (None, (48, 64), True), (0.5, (96, 128), False)):
        again = (tmp_path / "out" / "manifest.jsonl").is_file()
        (outcome,) = predictor.predict_files([slide], tmp_path / "out", mpp=mpp, resume=again)
        assert outcome.kept == kept
        assert tifffile.imread(outcome.paths[0]).shape == shape


def test_the_command_line_says_what_it_took(tmp_path, slide, capsys):
    model = Segmenter.create(NET, neck="unet", classes=["background", "tumour"], mpp=1.0)
    save(model, tmp_path / "model")
    assert load(tmp_path / "model").reader.mpp == 1.0
    assert "Input: 3 channels at 1 microns per pixel." in (tmp_path / "model" / "README.md").read_text()
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    command = ["predict", str(tmp_path / "model"), str(slide), str(tmp_path / "b.png"), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert f"note: {UNKNOWN}" in capsys.readouterr().out
    assert Image.open(tmp_path / "out" / "b_mask.png").size == (256, 192)
    assert main([*command, "--mpp", "0.25", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["notes"] for row in rows] == [[], []]
    assert Image.open(tmp_path / "out" / "b_mask.png").size == (64, 48)
    assert main([*command, "--mpp", "0"]) == 2
    assert "error: mpp=0.0: expected microns per pixel, above 0" in capsys.readouterr().err
    assert main([*command[:3], "-o", str(tmp_path / "out"), "--mpp", "5"]) == 3
    assert "has 5 microns per pixel; the model takes 1, 5 times as fine." in capsys.readouterr().err


def test_a_recipe_trains_and_scores_at_a_resolution(dataset, tmp_path):
    recipe = Recipe.model_validate(
        {
            "name": "slides",
            "data": {"path": str(dataset), "mpp": 1.0, "crop": 32, "augment": "none"},
            "model": {"backbone": NET, "neck": "unet"},
            "train": {"epochs": 1, "batch": 2, "workers": 0, "precision": "fp32"},
        }
    )
    run = train(recipe, out=tmp_path / "runs", console=False)
    model = load(run.directory / "model")
    assert model.reader.mpp == 1.0
    log = (run.directory / "log.txt").read_text()
    assert "note: 1 of 3 pictures don't say their resolution; they are taken as they are, for 1 microns" in log
    report = evaluate(model, dataset, split="test")
    assert report.counts.sum() == 2 * 48 * 64  # each pixel once for each of the two classes
    assert Predictor(model).predict(dataset / "images" / "c.svs").labels.shape == (48, 64)


def test_what_doesnt_go_with_a_resolution(dataset, tmp_path):
    with pytest.raises(UsageError, match=r"mpp=1: is for models of images alone; leave depth out"):
        Segmenter.create(NET, neck="unet", classes=["a", "b"], mpp=1, depth=NET)
    with pytest.raises(UsageError, match=r"mpp=-1: expected microns per pixel, above 0"):
        Segmenter.create(NET, neck="unet", classes=["a", "b"], mpp=-1)
    save(Segmenter.create(NET, neck="unet", classes=["background", "tumour"], mpp=0.5), tmp_path / "teacher")
    recipe = {
        "name": "slides",
        "data": {"path": str(dataset), "mpp": 1.0, "crop": 32},
        "model": {"backbone": NET, "neck": "unet"},
        "teacher": {"model": str(tmp_path / "teacher")},
        "train": {"epochs": 1, "workers": 0},
    }
    expected = r"the teacher looks at pictures at 0\.5 microns per pixel, the recipe at 1 microns per pixel; take the"
    with pytest.raises(RecipeError, match=expected):
        train(Recipe.model_validate(recipe), out=tmp_path / "runs", console=False)
    ensemble = {
        **recipe,
        "ensemble": {
            "members": [{"name": name, **recipe["model"], "data": {"mpp": mpp}} for name, mpp in (("a", 1), ("b", 2))]
        },
    }
    for key in ("model", "teacher"):
        del ensemble[key]
    with pytest.raises(RecipeError, match=r"members take the same data\.channels, window, slices and mpp"):
        train(Recipe.model_validate(ensemble), out=tmp_path / "runs", console=False)
    with pytest.raises(ValidationError, match=r"mpp"):
        Recipe.model_validate({**recipe, "data": {"mpp": 0}})


def test_depth_is_of_pictures_as_they_are(dataset, tmp_path):
    (dataset / "depth").mkdir()
    for name in "abcd":
        Image.fromarray(np.ones((192, 256), np.uint16)).save(dataset / "depth" / f"{name}.png")
    described = yaml.safe_load((dataset / "dataset.yaml").read_text())
    (dataset / "dataset.yaml").write_text(yaml.safe_dump({**described, "depth_unit": "mm"}))
    recipe = {
        "name": "slides",
        "data": {"path": str(dataset), "mpp": 1.0},
        "model": {"backbone": NET, "depth": NET, "neck": "unet"},
    }
    with pytest.raises(RecipeError, match=r"data\.mpp=1 is for pictures alone, without model\.depth"):
        train(Recipe.model_validate(recipe), out=tmp_path / "runs", console=False)


def test_a_plain_tiff_with_a_scale_is_a_slide_of_one_level(tmp_path):
    write_plain(tmp_path / "a.tif", [PIXELS], mpp=(0.5, 0.25))
    found = Predictor(red(1.0), precision="fp32").predict(tmp_path / "a.tif")
    assert found.labels.shape == (96, 64)
    assert found.mpp == pytest.approx((1, 1))
