"""A model taught to judge its predictions, and what it then says of pictures."""

import json
import shutil

import cv2
import numpy as np
import pytest
import yaml
from bright_discs import built

import segkit
from segkit.cli.main import main
from segkit.data.cases import Case
from segkit.data.geometry import Geometry
from segkit.data.picture import open_picture
from segkit.data.reader import Reader
from segkit.data.scaled import scaled
from segkit.errors import DataError, UsageError
from segkit.prediction.volume_maps import tall_scaled
from segkit.trusting.familiar import Range, properties_of, ranges_of, unlike

CLASSES = ["background", "disc"]


class Shade(segkit.Segmenter):
    """Finds what is bright: in pictures of more noise it is less sure, and less right."""

    def forward(self, image, depth=None):
        return 8 * (image.mean(1, keepdim=True) - 0.5)


@pytest.fixture
def model():
    return built(Shade, CLASSES)


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Pictures of a disc in less or more noise."""
    folder = tmp_path_factory.mktemp("trust") / "discs"
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    names = [f"d{i:02}" for i in range(45)]
    for number, name in enumerate(names):
        mask = cv2.circle(np.zeros((40, 44), np.uint8), (20, 20), 12, 1, -1)
        noise = random.normal(0, 10 + 4 * (number % 30), mask.shape)
        grey = (70 + 116 * mask + noise).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.repeat(grey[..., None], 3, axis=2))
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
    splits = {"train": names[30:], "val": names[:30], "few": names[:5]}
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "discs", "classes": CLASSES, "splits": splits}))
    return folder


def test_predicted_dice_follows_the_true_one(model, discs):
    quality = segkit.trust(model, discs, good=0.9, risk=0.2).judge.quality
    assert quality.images == 30
    assert quality.correlation > 0.9
    assert 0.2 < quality.accepted < 0.9
    assert quality.worse <= 0.2
    predictor = segkit.Predictor(model)
    clear, noisy = (predictor.predict(discs / "images" / f"d{i:02}.png").trust for i in (0, 29))
    assert (clear.verdict, noisy.verdict) == ("accept", "review")
    assert clear.predicted_dice > noisy.predicted_dice
    assert clear.bound < clear.predicted_dice
    assert clear.unlike == ()


def test_a_picture_unlike_those_trained_on_is_named_and_reviewed(model, discs):
    segkit.trust(model, discs, good=0.5, risk=0.4)
    predictor = segkit.Predictor(model)
    bright = np.full((40, 44, 3), 250, np.uint8)
    found = predictor.predict(bright).trust
    assert found.verdict == "review"
    assert found.unlike[0].startswith("brightness of channel 1 0.98, trained on 0.")
    large = predictor.predict(np.tile(cv2.imread(str(discs / "images" / "d35.png")), (4, 1, 1))).trust
    assert large.unlike == ("height 160, trained on 40 to 40",)


def test_it_is_saved_with_the_model_and_said_by_predict(model, discs, tmp_path, capsys, monkeypatch):
    segkit.trust(model, discs, good=0.9, risk=0.2)
    expected = segkit.Predictor(model).predict(discs / "images" / "d29.png").trust
    monkeypatch.setattr("segkit.artifact.segmentation._segmenter", lambda *_: model)
    segkit.save(model, tmp_path / "model")
    command = ["predict", str(tmp_path / "model"), str(discs / "images" / "d29.png"), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert "d29.png: expected Dice" in capsys.readouterr().out
    entry = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
    assert entry["trust"] == expected.figures()
    assert main([*command, "--threshold", "0.3"]) == 0
    assert "isn't known: it was taught with another threshold" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["trust"]["verdict"] == "review"


def test_the_command_teaches_and_saves(workplace, capsys):
    description = yaml.safe_load((workplace / "cells" / "dataset.yaml").read_text())
    names = [name for split in description["splits"].values() for name in split]
    description["splits"] = {"val": names}
    (workplace / "cells" / "dataset.yaml").write_text(yaml.safe_dump(description))
    assert main(["trust", "runs/demo/model", "cells", "-o", "trusted"]) == 3
    assert "at least 10 are needed" in capsys.readouterr().err


def test_a_model_without_it_says_nothing(model, discs):
    assert segkit.Predictor(model).predict(discs / "images" / "d00.png").trust is None


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"good": 1.5}, UsageError, "good=1.5: expected a share, above 0 and below 1"),
        ({"risk": 0.0}, UsageError, "risk=0: expected a share"),
        ({"split": "train"}, UsageError, "the model was trained on split 'train' of discs"),
        ({"split": "few"}, DataError, "split 'few' has 5 pictures with anything to find; at least 10"),
    ],
)
def test_what_can_not_be_learnt_from_is_refused(model, discs, how, error, message):
    with pytest.raises(error, match=message):
        segkit.trust(model, discs, **how)


def test_damage_is_named_and_the_model_can_be_taught_again(model, discs):
    model.about["trust"] = {"good": 2}
    predictor = segkit.Predictor(model)
    assert predictor.judge is None
    assert "what is kept with the model under 'trust' is damaged" in predictor.unjudged
    segkit.trust(model, discs)
    assert segkit.Predictor(model).unjudged is None


def test_notes_say_what_is_missing(model, discs):
    model.about["trained_on"] = {"dataset": "others"}
    trusted = segkit.trust(model, discs, risk=0.01)
    assert trusted.notes[0].startswith("the pictures trained on aren't in this dataset")
    assert "30 pictures are too few for a risk of 0.01: nothing will be accepted; it takes 99" in trusted.notes[1]
    assert trusted.judge.quality.accepted == 0


def test_properties_by_hand(tmp_path):
    pixels = np.zeros((10, 20, 1), np.uint8)
    pixels[:5] = 255
    found = properties_of(scaled(pixels, Reader(channels=1), "picture"))
    assert found["brightness"] == found["contrast"] == 0.5
    assert (found["darkest percent"], found["brightest percent"]) == (0, 1)
    assert found["height"] == pytest.approx(np.log(10))


def test_ranges_are_those_met_and_a_margin():
    ranges = ranges_of([{"brightness": 0.2, "height": np.log(100)}, {"brightness": 0.4, "height": np.log(200)}])
    assert ranges[0] == Range(name="brightness", low=0.2, high=0.4)
    inside = {"brightness": 0.5, "height": np.log(240)}
    assert unlike(ranges, inside) == []
    outside = {"brightness": 0.55, "height": np.log(300)}
    assert unlike(ranges, outside) == ["brightness 0.55, trained on 0.20 to 0.40", "height 300, trained on 100 to 200"]


def test_a_large_picture_is_looked_at_in_parts(discs):
    picture = open_picture(discs / "images" / "d00.png")
    found = properties_of(scaled(picture, Reader(), "d00"))
    whole = cv2.imread(str(discs / "images" / "d00.png")) / 255
    assert found["brightness of channel 2"] == pytest.approx(whole[..., 1].mean(), abs=1e-6)


def test_members_are_asked_what_they_were_trained_on(model, discs):
    ensemble = segkit.Ensemble([model, model], names=["one", "two"])
    with pytest.raises(UsageError, match="one was trained on split 'train' of discs"):
        segkit.trust(ensemble, discs, "val+train")
    assert segkit.trust(ensemble, discs).judge.ranges


def test_the_split_of_the_fit_is_named(model, discs):
    model.about["fitted_on"] = {"dataset": "discs", "split": "val"}
    model.about["postprocessed_on"] = {"dataset": "discs", "split": "val+test"}
    fitted, chosen = segkit.trust(model, discs, good=0.5, risk=0.4).notes
    assert fitted.startswith("the model itself was fitted on split 'val'")
    assert chosen.startswith("the steps after the model were chosen on split 'val'")


def test_patients_that_were_trained_on_are_told(model, discs, tmp_path):
    shutil.copytree(discs, tmp_path / "discs")
    file = tmp_path / "discs" / "dataset.yaml"
    values = yaml.safe_load(file.read_text())
    shared = [values["splits"]["train"][0], values["splits"]["val"][0]]
    file.write_text(yaml.safe_dump({**values, "groups": {"patient": shared}}))
    (note,) = segkit.trust(model, tmp_path / "discs", good=0.5, risk=0.4).notes
    assert note.startswith("1 groups of split 'val', such as patient, have other images that were trained on")


@pytest.mark.parametrize(("how", "said"), [({"tta": "flip"}, "tta=None, not flip"), ({"tile": 16}, "tile=512, not 16")])
def test_other_settings_are_not_judged_and_it_is_said_so(model, discs, how, said):
    segkit.trust(model, discs, good=0.5, risk=0.4)
    predictor = segkit.Predictor(model, **how)
    assert predictor.unjudged == f"it was taught with {said}"
    picture = discs / "images" / "d00.png"
    assert predictor.predict(picture).trust is None
    assert segkit.Predictor(model).predict(picture, threshold=0.3).trust is None
    assert segkit.Predictor(model).predict(picture).trust is not None


def test_one_patient_says_nothing_of_others(model, discs, tmp_path):
    shutil.copytree(discs, tmp_path / "discs")
    file = tmp_path / "discs" / "dataset.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "groups": {"patient": values["splits"]["val"]}}))
    with pytest.raises(DataError, match="are of fewer than 5 groups: nothing tells how predictions on others will be"):
        segkit.trust(model, tmp_path / "discs")


def test_spacings_belong_to_what_a_volume_looks_like():
    values = np.zeros((2, 3, 4, 1), np.float32)
    case = Case("scan", values, Geometry((2, 3, 4), np.diag([1.0, 2.0, 5.0, 1.0])), Reader(channels=1))
    found = properties_of(tall_scaled(case))
    along = {f"voxels along {axis}": np.log(count) for axis, count in zip("IJK", (2, 3, 4), strict=True)}
    along |= {f"millimetres along {axis}": np.log(length) for axis, length in zip("IJK", (1, 2, 5), strict=True)}
    assert {name: found[name] for name in along} == pytest.approx(along)
    assert "height" not in found
    coarse = Case("other", values, Geometry((2, 3, 4), np.diag([1.0, 2.0, 8.0, 1.0])), Reader(channels=1))
    assert unlike(ranges_of([found]), properties_of(tall_scaled(coarse))) == [
        "millimetres along K 8.00, trained on 5.00 to 5.00"
    ]
    nowhere = Case("flat", values, Geometry((2, 3, 4), np.eye(4)), Reader(channels=1), spaced=False)
    assert not any(name.startswith("millimetres") for name in properties_of(tall_scaled(nowhere)))


def test_a_judge_of_other_settings_than_the_model_s_is_told(model, discs):
    notes = segkit.trust(model, discs, tta="flip").notes
    assert "found with tta=flip; by itself the model predicts with tta=None: give predict the same" in notes
    with pytest.raises(UsageError, match=r"'there': expected a model that draws masks, as segkit\.load gives it"):
        segkit.trust("there", discs)
