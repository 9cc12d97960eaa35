import math
import re
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from segkit.adapter import Adapter
from segkit.data.picture import open_picture
from segkit.data.reader import Reader
from segkit.drawing.overlay import draw_overlay
from segkit.ensemble import Ensemble
from segkit.errors import DataError, ModelError, UsageError
from segkit.model import Segmenter
from segkit.precision import fastest, whole_float32
from segkit.prediction.predictor import Prediction, Predictor
from segkit.statistics import PixelStatistics, entropy


def picture(height=9, width=7, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)
    return path


def test_a_binary_prediction_by_hand(binary):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 0] = [[0, 127], [128, 255]]  # the model's probability of vessel
    found = Predictor(binary).predict(pixels)
    assert isinstance(found, Prediction)
    assert found.labels.tolist() == [[0, 0], [1, 1]]
    assert found.probabilities.shape == (1, 2, 2)
    assert found.probabilities[0, 1, 0] == pytest.approx(128 / 255)
    assert found.entropy[1, 1] == 0
    assert found.entropy[0, 1] == pytest.approx(math.log(2), abs=1e-4)
    assert found.disagreement is None
    assert (found.name, found.task, found.classes, found.background) == (
        "image",
        "binary",
        ("background", "vessel"),
        0,
    )
    assert found.palette.shape == (2, 3)
    assert np.array_equal(found.image, pixels / np.float32(255))


def test_the_threshold_itself_is_foreground(binary):
    half = np.full((1, 1, 3), 0.25, np.float32)
    assert Predictor(binary).predict(half, threshold=0.25).labels.tolist() == [[1]]
    assert Predictor(binary).predict(half, threshold=0.2500001).labels.tolist() == [[0]]


def test_multiclass_takes_the_most_probable_class_the_first_of_equals(multiclass):
    pixels = np.array([[[10, 20, 30], [9, 9, 9], [1, 5, 5]]], np.uint8)
    found = Predictor(multiclass).predict(pixels)
    assert found.labels.tolist() == [[2, 0, 1]]
    assert found.labels.dtype == np.uint8


def test_multilabel_answers_one_mask_a_class(multilabel):
    pixels = np.array([[[200, 200, 0], [200, 0, 0], [0, 0, 0]]], np.uint8)
    found = Predictor(multilabel).predict(pixels)
    assert found.labels.tolist() == [[[1, 1, 0]], [[1, 0, 0]]]


def test_an_ensembles_disagreement_is_blended_like_its_probabilities(ensemble):
    pixels = picture(20, 30)
    found = Predictor(ensemble, tile=8, tta="flip").predict(pixels)
    np.testing.assert_allclose(found.disagreement, pixels[..., 2] / 510, atol=1e-6)
    np.testing.assert_allclose(found.probabilities[0], pixels[..., 0] / 255, atol=1e-6)


class Halves(torch.nn.Module):
    """Sure of foreground in the right half of whatever it sees; the second member is as unsure as can be."""

    def __init__(self, colours, members):
        super().__init__()
        self.task, self.classes, self.background, self.maps = "binary", ("background", "cell"), 0, 1
        self.reader, self.members, self.takes_whole_images = colours.reader, members, False

    def statistics(self, image):
        sure = (torch.arange(image.shape[-1]) >= image.shape[-1] // 2).float().expand(len(image), 1, *image.shape[-2:])
        if not self.members:
            return PixelStatistics(sure, entropy(sure, "binary"))
        mean = (sure + 0.5) / 2
        total = entropy(mean, "binary")
        return PixelStatistics(mean, total, total - math.log(2) / 2)


def test_views_that_contradict_one_another_leave_the_pixel_unsure(binary):
    single, pair = Halves(binary, 0), Halves(binary, 2)
    for tta, sure in ((None, True), ("flip", False)):
        found = Predictor(single, tta=tta, device="cpu").predict(picture(4, 6))
        np.testing.assert_allclose(found.entropy, 0 if sure else math.log(2), atol=1e-6)
        # one member is always as unsure as can be, the other never: half of ln 2 within them
        found = Predictor(pair, tta=tta, device="cpu").predict(picture(4, 6))
        total = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) if sure else math.log(2)
        np.testing.assert_allclose(found.entropy, total, atol=1e-6)
        np.testing.assert_allclose(found.disagreement, total - math.log(2) / 2, atol=1e-6)


@pytest.mark.parametrize("options", [{"tile": 8, "overlap": 0.5}, {"tile": None, "tta": "flip"}])
def test_the_entropy_is_that_of_the_probabilities(options):
    torch.manual_seed(0)
    model = Segmenter.create({"name": "stem", "width": 4}, neck={"name": "fpn", "width": 8}, classes=3)
    found = Predictor(model, **options, device="cpu").predict(picture(20, 18))
    p = found.probabilities.astype(np.float64)
    np.testing.assert_allclose(found.entropy, -(p * np.log(p)).sum(0), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16), (37, 21)])
def test_tiles_change_nothing_for_a_model_of_single_pixels(binary, size):
    whole = Predictor(binary, tile=None).predict(picture(*size))
    cut = Predictor(binary, tile=8, overlap=0.3, batch=3).predict(picture(*size))
    np.testing.assert_allclose(cut.probabilities, whole.probabilities, atol=1e-6)
    np.testing.assert_allclose(cut.entropy, whole.entropy, atol=1e-6)
    assert cut.labels.shape == size


def test_a_small_image_is_one_forward_pass_at_its_own_size(binary):
    Predictor(binary, tile=512).predict(picture(5, 7))
    assert binary.sizes == [(1, 3, 5, 7)]


@pytest.mark.parametrize(
    ("pixels", "value"),
    [
        (np.full((2, 3), 51, np.uint8), 0.2),
        (np.full((2, 3, 1), 51, np.uint8), 0.2),
        (np.full((2, 3, 3), 13107, np.uint16), 0.2),
        (np.full((2, 3, 3), 13107, ">u2"), 0.2),
        (np.full((2, 3, 3), 1.0000001, np.float32), 1),
        (np.full((2, 3, 3), 0.2, np.float64), 0.2),
    ],
)
def test_arrays_of_every_kind(binary, pixels, value):
    found = Predictor(binary).predict(pixels)
    assert found.labels.shape == (2, 3)
    np.testing.assert_allclose(found.probabilities, value, atol=1e-6)


def test_a_mirrored_array_is_predicted_as_its_copy(binary):
    image = picture().astype(np.float32) / 255
    for turned in (image[::-1], image[:, ::-1], image[..., ::-1]):
        found, expected = (Predictor(binary).predict(pixels).probabilities for pixels in (turned, turned.copy()))
        assert np.array_equal(found, expected)


def test_settings_not_given_are_those_kept_with_the_model(binary):
    binary.about = {"predict": {"tile": 16, "overlap": 0.25, "tta": "flip", "threshold": 0.3, "precision": "bf16"}}
    predictor = Predictor(binary, device="cpu")
    kept = (predictor.tile, predictor.overlap, predictor.tta, predictor.threshold, predictor.precision)
    assert kept == (16, 0.25, "flip", 0.3, "bf16")
    other = Predictor(binary, tile=None, overlap=0.0, tta=None, precision="fp32", device="cpu")
    assert (other.tile, other.overlap, other.tta, other.threshold, other.precision) == (None, 0.0, None, 0.3, "fp32")
    pixels = np.full((1, 1, 3), 0.4, np.float32)
    assert other.predict(pixels).labels == 1
    assert other.predict(pixels, threshold=0.5).labels == 0


def test_the_models_window_and_channels_are_applied(build):
    model = build("binary", ["cell"], channels=1, window=(100, 300))
    found = Predictor(model).predict(np.array([[50, 150, 400]], np.uint16))
    np.testing.assert_allclose(found.probabilities[0], [[0, 0.25, 1]], atol=1e-6)
    assert found.image.shape == (1, 3, 1)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), "image: the picture has 2 channels; the model takes 3"),
        (np.full((2, 2, 3), 7.0), "image: values run from 7 to 7; without an intensity window"),
        (np.zeros((2, 0, 3), np.uint8), r"got \[2, 0, 3\]; expected a path, or an array"),
        (np.zeros(4, np.uint8), r"got \[4\]; expected"),
        ([[0, 1]], "got list; expected a path"),
        (np.zeros((2, 2), np.int64), "the array is int64; expected uint8"),
        (np.full((2, 2), np.nan), "not finite"),
    ],
)
def test_arrays_that_are_no_image_are_refused(binary, pixels, message):
    with pytest.raises(DataError, match=message):
        Predictor(binary).predict(pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": -1}, "tile=-1"),
        ({"overlap": 1.5}, "overlap=1.5"),
        ({"batch": 0}, "batch=0"),
        ({"tta": "spin"}, "tta='spin'"),
        ({"tta": 1.25}, r"tta=1\.25: expected mirror"),
        ({"postprocess": "x"}, "postprocess: Input should be"),
        ({"device": "meta"}, r"device='meta': not there \(.*\); take 'cpu'"),
        ({"device": 0.5}, r"device='0\.5': not there"),
        ({"device": "hpu"}, r"device='hpu': not there"),
        ({"precision": "int8"}, "precision='int8': expected one of auto, fp32, bf16"),
    ],
)
def test_options_outside_their_range_are_refused_at_once(binary, options, message):
    with pytest.raises(UsageError, match=message):
        Predictor(binary, **options)


def test_a_model_that_gives_nan_is_refused(binary):
    binary.scale.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="image: the model gives values that are not finite"):
        Predictor(binary).predict(picture())


def test_the_model_evaluates_and_is_left_as_it_was(binary):
    binary.train()
    binary.frozen.eval()
    Predictor(binary).predict(picture())
    assert binary.trained == [False]
    assert binary.training
    assert not binary.frozen.training
    binary.scale.data.fill_(float("nan"))
    with pytest.raises(ModelError) as kept:  # with its frames, and what they hold
        Predictor(binary).predict(picture())
    assert binary.training
    assert kept.value.__traceback__ is not None


def test_no_gradient_is_recorded_and_the_model_can_still_learn(binary):
    Predictor(binary).predict(picture())
    binary.probabilities(torch.ones(1, 3, 2, 2)).sum().backward()
    assert binary.scale.grad == 4


def test_any_question_can_be_asked_by_the_same_settings(binary):
    image = picture(20, 30).astype(np.float32) / 255
    rows = Predictor(binary, tile=8, tta="flip").rows(lambda tiles: tiles[:, 1:] * 2, image)
    first = next(rows)
    assert not torch.is_inference_mode_enabled()
    np.testing.assert_allclose(np.concatenate([first, *rows], axis=1), image[..., 1:].transpose(2, 0, 1) * 2, atol=1e-6)


def test_precision_is_the_machines_own_unless_asked(build):
    class Product(build):
        def probabilities(self, image):
            self.dtype = torch.nn.functional.conv2d(image, torch.ones(1, 3, 1, 1)).dtype
            return super().probabilities(image)

    model = Product("binary", ["cell"])
    native = torch.bfloat16 if fastest(torch.device("cpu")) == "bf16" else torch.float32
    for precision, dtype in (("auto", native), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        Predictor(model, precision=precision, device="cpu").predict(picture())
        assert model.dtype == dtype


def test_with_a_folder_the_arrays_are_memory_maps_of_its_files(binary, tmp_path):
    path = save(tmp_path / "scan.png", picture(40, 20))
    inside = Predictor(binary, tile=16).predict(path)
    mapped = Predictor(binary, tile=16).predict(path, tmp_path / "maps")
    for name in ("labels", "probabilities", "entropy"):
        assert isinstance(getattr(mapped, name), np.memmap)
        assert np.array_equal(getattr(mapped, name), getattr(inside, name))
        assert (tmp_path / "maps" / f"scan_{name}.npy").exists()
    assert [p.name for p in mapped.save(tmp_path / "out")] == ["scan_mask.png"]
    with pytest.raises(UsageError, match="folder"):
        mapped.save("")


def test_a_saved_prediction_reads_back(ensemble, tmp_path):
    path = save(tmp_path / "scan.png", picture())
    found = Predictor(ensemble).predict(path)
    paths = found.save(tmp_path / "out", overlay=True, probability=True, entropy=True, disagreement=True)
    assert [p.name for p in paths] == [
        f"scan_{kind}.png" for kind in ("mask", "overlay", "probability", "entropy", "disagreement")
    ]
    mask, overlay, *maps = paths
    assert np.array_equal(np.asarray(Image.open(mask)), found.labels)
    assert np.array_equal(np.asarray(Image.open(overlay)), found.overlay())
    probability, entropy, disagreement = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) / 65535 for p in maps)
    np.testing.assert_allclose(probability, found.probabilities[0], atol=1e-5)
    np.testing.assert_allclose(entropy * math.log(2), found.entropy, atol=1e-5)
    np.testing.assert_allclose(disagreement * math.log(2), found.disagreement, atol=1e-5)
    assert Image.open(maps[0]).text["Description"] == "probability of vessel = pixel * 1 / 65535"


def test_a_tiffs_results_are_tiffs_with_float_maps(multiclass, tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", picture())
    found = Predictor(multiclass).predict(tmp_path / "scan.tif")
    mask, probability, entropy = found.save(tmp_path, probability=True, entropy=True)
    assert [p.name for p in (mask, probability, entropy)] == [
        "scan_mask.tif",
        "scan_probability.tif",
        "scan_entropy.tif",
    ]
    assert np.array_equal(tifffile.imread(mask), found.labels)
    assert np.array_equal(tifffile.imread(probability), found.probabilities)
    assert np.array_equal(tifffile.imread(entropy), found.entropy)


def test_multilabel_masks_are_one_file_a_class(multilabel, tmp_path):
    found = Predictor(multilabel).predict(picture())
    red, green = found.save(tmp_path)
    assert (red.parent.name, red.name, green.name) == ("image_mask", "red.png", "green.png")
    assert np.array_equal(np.asarray(Image.open(green)), found.labels[1])


def test_a_single_model_has_no_disagreement_to_save(binary, tmp_path):
    with pytest.raises(UsageError, match="disagreement is between the members of an ensemble"):
        Predictor(binary).predict(picture()).save(tmp_path, disagreement=True)
    with pytest.raises(UsageError, match="this model is a single one"):
        Predictor(binary).predict_files(tmp_path, tmp_path / "out", disagreement=True)


def test_one_bad_file_is_reported_and_the_rest_go_on(binary, tmp_path):
    for name in ("a.png", "c.png", "sub/a.png"):
        save(tmp_path / "in" / name, picture())
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:60])
    seen = []
    outcomes = Predictor(binary).predict_files(
        [tmp_path / "in", tmp_path / "gone.png"],
        tmp_path / "out",
        overlay=True,
        progress=lambda done, total, outcome: seen.append((done, total, outcome.source.name)),
    )
    assert [(o.source.name, o.error is None) for o in outcomes] == [
        ("a.png", True),
        ("b.png", False),
        ("c.png", True),
        ("a.png", True),
        ("gone.png", False),
    ]
    assert outcomes[1].error.startswith(f"{tmp_path / 'in' / 'b.png'}: the file is cut short")
    assert outcomes[1].paths == ()
    assert outcomes[4].error == f"{tmp_path / 'gone.png'}: no such file"
    assert "\n" not in "".join(o.error or "" for o in outcomes)
    assert seen == [(i + 1, 5, o.source.name) for i, o in enumerate(outcomes)]
    written = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png"))
    assert written == [f"in/{s}_{k}.png" for s in ("a", "c", "sub/a") for k in ("mask", "overlay")]


def test_an_output_folder_that_cannot_be_is_refused_before_the_first_forward_pass(binary, tmp_path):
    path = save(tmp_path / "a.png", picture())
    (tmp_path / "taken").touch()
    for ask in (Predictor(binary).predict_files, Predictor(binary).predict):
        with pytest.raises(UsageError, match=r"taken: can't write there \(File exists\); choose another output folder"):
            ask(path, tmp_path / "taken")
    assert binary.sizes == []


def test_what_cannot_be_written_is_reported_too(binary, tmp_path):
    save(tmp_path / "a.png", picture())
    save(tmp_path / "b.png", picture())
    (tmp_path / "out" / "a_mask.png").mkdir(parents=True)
    bad, good = Predictor(binary).predict_files([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert bad.error == f"{tmp_path / 'out' / 'a_mask.png'}: can't be written (Is a directory); choose another place"
    assert good.paths == (tmp_path / "out" / "b_mask.png",)


def test_of_a_picture_that_became_unreadable_no_earlier_mask_is_left(binary, tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, picture())
    inputs, out = [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out"
    Predictor(binary).predict_files(inputs, out, overlay=True)
    inputs[0].write_bytes(inputs[0].read_bytes()[:50])
    bad, good = Predictor(binary).predict_files(inputs, out, overlay=True)
    assert "cut short" in bad.error
    assert good.error is None
    assert sorted(path.name for path in out.iterdir()) == ["b_mask.png", "b_overlay.png", "manifest.jsonl"]


def test_an_input_is_never_overwritten(binary, tmp_path):
    save(tmp_path / "a.png", picture())
    other = save(tmp_path / "a_mask.png", picture(seed=1))
    before = other.read_bytes()
    refused, fine = Predictor(binary).predict_files([tmp_path / "a.png", other], tmp_path)
    assert "a_mask.png is one of the images to predict" in refused.error
    assert fine.paths == (tmp_path / "a_mask_mask.png",)
    assert other.read_bytes() == before


def test_inputs_of_one_stem_do_not_overwrite_each_others_outputs(binary, tmp_path):
    save(tmp_path / "a.png", picture())
    save(tmp_path / "a.bmp", picture(seed=1))
    first, second = Predictor(binary).predict_files([tmp_path / "a.png", tmp_path / "a.bmp"], tmp_path / "out")
    assert first.error is None
    assert "a_mask.png would be an output of" in second.error


def test_a_real_ensemble_is_a_model():
    torch.manual_seed(0)
    classes = ["background", "cell"]
    members = [Segmenter.create("stem", neck={"name": "fpn", "width": 8}, classes=classes) for _ in range(2)]
    found = Predictor(Ensemble(members), tile=32, device="cpu").predict(picture(40, 50))
    assert found.labels.shape == (40, 50)
    assert (found.disagreement > 0).any()
    assert (found.disagreement <= found.entropy + 1e-5).all()


def test_a_model_that_takes_images_whole_is_never_given_a_piece(binary):
    binary.takes_whole_images = True
    Predictor(binary, device="cpu").predict(picture(40, 60))
    assert binary.sizes == [(1, 3, 40, 60)]
    with pytest.raises(UsageError, match="tile=32: this model takes images whole; leave tile out"):
        Predictor(binary, tile=32)
    with pytest.raises(UsageError, match=r"overlap=0\.3: this model takes images whole; leave overlap out"):
        Predictor(binary, overlap=0.3)


def test_scales_are_refused_where_images_are_brought_to_one_size():
    sized = Segmenter.create({"name": "stem", "width": 4}, classes=2, input_size=(32, 32))
    other = Segmenter.create({"name": "stem", "width": 4}, classes=2)
    for model in (sized, Ensemble([sized, sized])):
        with pytest.raises(UsageError, match=r"tta=flip,0\.75: this model brings images to one size, so that scales"):
            Predictor(model, tta="flip,0.75", device="cpu")
        assert Predictor(model, tta="flip", device="cpu").tta == "flip"
    assert Predictor(Ensemble([sized, other]), tta="0.75", device="cpu").tta == "0.75"


def small_segmenter():
    torch.manual_seed(0)
    return Segmenter.create({"name": "stem", "width": 4}, neck={"name": "fpn", "width": 8}, classes=2)


def test_what_is_predicted_is_the_models_own_probabilities():
    model, pixels = small_segmenter(), picture(50, 41)
    found = Predictor(model, tile=None, precision="fp32", device="cpu").predict(pixels).probabilities
    with torch.no_grad():
        expected = model.eval().probabilities(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    rough = Predictor(model, tile=None, precision="bf16", device="cpu").predict(pixels).probabilities
    assert 0 < np.abs(rough - found).max() < 0.02


def test_a_picture_among_others_is_predicted_as_by_itself():
    predictor = Predictor(small_segmenter(), tile=32, batch=4, device="cpu")
    pictures = [picture(50, 41, seed=seed) for seed in range(3)]
    together = [predictor.predict(pixels).probabilities for pixels in pictures]
    alone = Predictor(small_segmenter(), tile=32, batch=4, device="cpu").predict(pictures[2]).probabilities
    assert np.array_equal(together[2], alone)


def test_tiles_at_a_time_fill_the_device_and_are_those_asked_for(binary):
    sizes = {tile: Predictor(binary, tile=tile, device="cpu").batch for tile in (None, 1024, 512, 256, 16)}
    assert sizes == {None: 1, 1024: 1, 512: 2, 256: 8, 16: 64}
    assert Predictor(binary, batch=3).batch == 3


@pytest.mark.parametrize(
    "sizes", [((32, 32),), pytest.param(((50, 41), (20, 33), (50, 41)), marks=pytest.mark.slow)], ids=["one", "several"]
)
def test_a_compiled_model_says_the_same_at_every_size_of_tiles(sizes):
    plain = Predictor(small_segmenter(), tile=32, precision="fp32", device="cpu")
    fast = Predictor(small_segmenter(), tile=32, precision="fp32", device="cpu", compile=True)
    for size in sizes:
        expected, found = plain.predict(picture(*size)), fast.predict(picture(*size))
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-5)


def test_out_of_memory_with_one_tile_is_one_line(binary):
    def full(image):
        raise torch.OutOfMemoryError("no room")

    binary.statistics = full
    with pytest.raises(UsageError, match="image: out of GPU memory with tile=512 and batch=1; take less of either"):
        Predictor(binary, batch=4).predict(picture())


def test_the_overlay_of_a_tall_picture_is_drawn_in_parts_without_seams(monkeypatch, multiclass):
    found = Predictor(multiclass).predict(picture(40, 30))
    whole = draw_overlay(found.image, found.labels, found.palette, found.background)
    monkeypatch.setattr("segkit.prediction.prediction.AT_ONCE", 7)
    assert np.array_equal(found.overlay(), whole)


def test_a_tiffs_parts_give_what_the_whole_gives(monkeypatch, build, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 9000, (70, 50, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", tile=(16, 16), compression="zlib")
    predictor = Predictor(build("multiclass", ["a", "b", "c"], window="picture"), tile=24, precision="fp32")
    monkeypatch.setattr("segkit.data.picture.AT_ONCE", 1000)  # so that the file is not decoded at once
    parts, whole = (predictor.predict(source) for source in (tmp_path / "x.tif", pixels))
    assert np.array_equal(parts.probabilities, whole.probabilities)
    assert np.array_equal(parts.overlay(), whole.overlay())


def test_an_opened_picture_has_the_resolution_that_is_said(tmp_path, binary):
    binary.reader = Reader(channels=3, mpp=1.0)
    file = tmp_path / "x.png"
    cv2.imwrite(str(file), np.zeros((64, 64, 3), np.uint8))
    predictor = Predictor(binary, precision="fp32")
    for given in (file, open_picture(file), np.zeros((64, 64, 3), np.uint8)):
        assert predictor.predict(given, mpp=0.5).labels.shape == (32, 32)


@pytest.mark.parametrize("model", [torch.nn.Conv2d(3, 1, 1), None, 5])
def test_what_is_no_model_is_refused_and_an_adapter_is_named(model):
    with pytest.raises(
        UsageError, match=rf"^{type(model).__name__}: expected a model of segkit.*segkit\.Adapter makes"
    ):
        Predictor(model)


def test_a_device_of_shapes_alone_leaves_the_model_where_it_is(binary):
    with pytest.raises(UsageError):
        Predictor(binary, device="meta")
    assert binary.scale.item() == 1


def test_names_that_are_none_are_refused(binary, tmp_path):
    with pytest.raises(UsageError, match="model: got ''; expected the name of a file or folder"):
        Predictor("")
    predictor = Predictor(binary)
    for source in ("", "im\0x"):
        with pytest.raises(UsageError, match=r"source: got '.*'; expected the name of a file or folder"):
            predictor.predict(source)
    for out in (5, ""):
        with pytest.raises(UsageError, match="out: got "):
            predictor.predict(picture(), out)
        with pytest.raises(UsageError, match="out: got "):
            predictor.predict_files(tmp_path, out)


def test_a_folder_of_pictures_is_for_predict_files(binary, tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), picture())
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(DataError, match=r": a folder without DICOM; predict_files takes folders of pictures$"):
        Predictor(binary).predict(tmp_path)
    (tmp_path / "images" / "a.dcm").write_bytes(b"x" * 200)
    with pytest.raises(DataError, match="holds no DICOM series: "):
        Predictor(binary).predict(tmp_path)


def test_out_of_memory_of_whoever_asks_for_rows_is_one_line(binary):
    def full(_tiles):
        raise torch.OutOfMemoryError("no room")

    predictor = Predictor(binary)
    with pytest.raises(UsageError, match="the image: out of GPU memory with tile=512 and batch=1; take less of either"):
        list(predictor.rows(full, np.zeros((9, 9, 3), np.float32)))


def test_a_picture_that_is_too_large_for_the_memory_leaves_the_others(binary, tmp_path):
    plain = binary.statistics

    def full_at_seven(image):
        if image.shape[-1] == 7:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate much")
        return plain(image)

    for name, width in (("a", 7), ("b", 9)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(9, width))
    binary.statistics = full_at_seven
    first, second = Predictor(binary).predict_files([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert re.search(r"a\.png: out of memory with tile=512", first.error)
    assert second.error is None
    assert second.paths[0].is_file()


def test_a_volume_asked_for_meanwhile_doesn_t_take_the_place_of_another(binary, monkeypatch):
    predictor = Predictor(binary)

    def predict(path):
        if path == Path("a"):
            predictor.predict_case(Path("b"))
        return f"of {path}"

    monkeypatch.setattr(predictor, "predict", predict)
    assert predictor.predict_case(Path("a")) == "of a"


def test_float32_on_a_gpu_is_all_of_it():
    gpu, before = torch.device("cuda"), torch.backends.cudnn.allow_tf32
    assert before
    first, second = whole_float32(gpu), whole_float32(gpu)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.allow_tf32
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32
    with whole_float32(torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32


def test_whole_float32_is_asked_for_where_float32_is(binary, monkeypatch):
    asked = []
    monkeypatch.setattr("segkit.prediction.sweep.whole_float32", lambda device: asked.append(device) or nullcontext())
    Predictor(binary, precision="bf16").predict(picture(8, 8))
    assert asked == []
    Predictor(binary, precision="fp32").predict(picture(8, 8))
    assert asked == [torch.device("cpu")]


def test_a_model_from_elsewhere_with_kernels_of_volumes_and_a_smallest_image():
    class Picky(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.volume = torch.nn.Conv3d(3, 2, 1)
            self.plain, self.norm = torch.nn.Conv2d(2, 1, 3, padding=1), torch.nn.BatchNorm2d(1)

        def forward(self, image):
            if image.shape[-1] < 100:
                raise ValueError("too small for me")
            return self.norm(self.plain(self.volume(image[:, :, None])[:, :, 0]))

    model = Adapter(Picky().eval(), classes=["background", "cell"])
    found = Predictor(model, precision="fp32").predict(picture(120, 110))
    image = torch.from_numpy(picture(120, 110)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        np.testing.assert_allclose(found.probabilities, model.probabilities(image)[0].numpy(), atol=1e-5)


def test_more_classes_than_a_mask_holds_are_refused():
    model = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=255)
    with pytest.raises(UsageError, match="this model has 255 classes; a mask holds 254 at most"):
        Predictor(model)
