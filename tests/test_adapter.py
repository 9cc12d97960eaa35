"""Models from elsewhere as members: what they are given, what is made of what they give, and what is refused."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import segkit
from segkit import Adapter
from segkit.data.slices import Slices
from segkit.errors import ModelError, UsageError

CLASSES = ["background", "spot"]


def small(**options):
    torch.manual_seed(0)
    return segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=CLASSES, **options).eval()


def test_a_module_says_the_sigmoid_of_its_logits():
    module = nn.Conv2d(3, 1, 3, padding=1)
    image = torch.rand(2, 3, 7, 9)
    adapter = Adapter(module, classes=CLASSES, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4])
    given = (image - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    torch.testing.assert_close(adapter(image), module(given).sigmoid())
    found = adapter.statistics(image)
    assert found.entropy.shape == (2, 7, 9)
    assert found.mutual_information is None


def test_two_maps_of_a_binary_task_are_both_classes():
    maps = torch.randn(1, 2, 4, 5)
    image = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(Adapter(lambda _: maps, classes=2)(image), maps.softmax(1)[:, 1:])
    p = maps.softmax(1)
    torch.testing.assert_close(Adapter(lambda _: p, classes=2, gives="probabilities")(image), p[:, 1:])


def test_functions_may_give_arrays():
    adapter = Adapter(lambda x: x.mean(1, keepdim=True).numpy(), classes=1, gives="probabilities")
    image = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(adapter(image), image.mean(1, keepdim=True))


def test_sides_become_multiples_and_maps_are_cut():
    seen = []

    def function(x):
        seen.append(x)
        return x[:, :1]

    image = torch.rand(1, 3, 20, 35)
    found = Adapter(function, classes=1, gives="probabilities", multiple_of=32)(image)
    assert seen[0].shape == (1, 3, 32, 64)
    assert torch.equal(seen[0][..., :20, :35], image)
    assert torch.equal(seen[0][..., 20, :35], image[..., 18, :])
    assert torch.equal(found, image[:, :1])


def test_a_member_of_other_channels_is_converted():
    grey = small(in_channels=1)
    adapter = Adapter(grey.probabilities, classes=CLASSES, gives="probabilities", convert=lambda x: x.mean(1, True))
    colour = small()
    ensemble = segkit.Ensemble([colour, adapter], [0.25, 0.75])
    image = torch.rand(1, 3, 12, 10)
    expected = 0.25 * colour.probabilities(image) + 0.75 * grey.probabilities(image.mean(1, keepdim=True))
    torch.testing.assert_close(ensemble(image), expected)
    with pytest.raises(UsageError, match=r"differ in data.channels \(1 and 3\)"):
        segkit.Ensemble([colour, grey])


def test_it_is_predicted_with_in_tiles():
    adapter = Adapter(lambda x: x[:, :1], classes=CLASSES, gives="probabilities", multiple_of=16)
    picture = np.random.default_rng(0).random((50, 41, 3), np.float32)
    found = segkit.Predictor(segkit.Ensemble([adapter, adapter]), tile=16, precision="fp32").predict(picture)
    np.testing.assert_allclose(found.probabilities[0], picture[..., 0], atol=1e-6)
    np.testing.assert_allclose(found.disagreement, 0, atol=1e-6)


def test_an_onnx_file_is_run(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    module = nn.Conv2d(3, 3, 3, padding=1).eval()
    path = tmp_path / "other.onnx"
    torch.onnx.export(
        module,
        (torch.rand(1, 3, 16, 24),),
        str(path),
        dynamo=True,
        input_names=["x"],
        output_names=["y"],
        verbose=False,
    )
    adapter = Adapter(path, classes=["a", "b", "c"])
    image = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(adapter(image), module(image).softmax(1), atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match=r"other\.onnx: can't take images \[1, 3, 8, 8\]"):
        adapter(torch.rand(1, 3, 8, 8))
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match=r"torn\.onnx: no ONNX file, or a damaged one"):
        Adapter(torn, classes=2)
    with pytest.raises(ModelError, match=r"none\.onnx: can't be read"):
        Adapter(tmp_path / "none.onnx", classes=2)


@pytest.mark.parametrize(
    ("function", "gives", "message"),
    [
        (lambda x: x[:, :1, 1:], "logits", r"gives \[1, 1, 3, 5\]; expected \[1, 1, 4, 5\]"),
        (lambda x: x[:, :1] * 7, "probabilities", "no probabilities; say gives='logits'"),
        (lambda x: {"out": x}, "logits", "gives dict; expected a tensor or an array"),
    ],
)
def test_what_is_no_map_is_refused(function, gives, message):
    with pytest.raises(ModelError, match=message):
        Adapter(function, classes=CLASSES, gives=gives)(torch.ones(1, 3, 4, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gives": "labels"}, "gives='labels': expected one of logits, probabilities"),
        ({"task": "panoptic"}, "task 'panoptic': expected one of"),
        ({"multiple_of": 0}, "multiple_of=0: expected a whole number, 1 or more"),
        ({"mean": [0.5], "std": [0.1, 0.2]}, "mean has 1 and std 2 values"),
    ],
)
def test_options_without_a_meaning_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Adapter(lambda x: x, classes=CLASSES, **options)


def test_the_background_and_the_window_are_those_of_a_segmenter():
    names = ["background", "a", "b"]
    assert Adapter(lambda x: x, classes=names).background == 0
    assert Adapter(lambda x: x, classes=names, background="b", window="file").background == 2
    assert Adapter(lambda x: x, classes=names, window="file").reader.window == "file"
    with pytest.raises(UsageError, match="background 'c' is not one of the classes"):
        Adapter(lambda x: x, classes=names, background="c")


def test_what_is_no_model_is_refused():
    with pytest.raises(UsageError, match=r"int: expected a module, a function, or an \.onnx file's path"):
        Adapter(3, classes=2)


def test_it_can_not_be_saved(tmp_path):
    ensemble = segkit.Ensemble([small(), Adapter(lambda x: x[:, :1], classes=CLASSES)], names=["ours", "theirs"])
    with pytest.raises(UsageError, match=r"theirs: only models built with Segmenter\.create can be saved"):
        segkit.save(ensemble, tmp_path / "m")


def test_what_was_predicted_with_another_function_is_not_kept(tmp_path):
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    red = Adapter(lambda x: x[:, :1], classes=CLASSES, gives="probabilities")
    blue = Adapter(lambda x: x[:, 2:], classes=CLASSES, gives="probabilities")
    for model, resume, kept in ((red, False, False), (red, True, True), (blue, True, False)):
        (outcome,) = segkit.Predictor(model).predict_files(picture, tmp_path / "out", resume=resume)
        assert outcome.kept is kept


def test_rounding_below_zero_is_none():
    values = torch.tensor([-1e-7, 0.5, 1.0005, 1.0]).view(1, 1, 2, 2)
    found = Adapter(lambda _: values, classes=1, gives="probabilities")(torch.rand(1, 3, 2, 2))
    assert found.flatten().tolist() == [0.0, 0.5, 1.0, 1.0]
    with pytest.raises(ModelError, match=r"gives -0.1 to 0.5, no probabilities"):
        Adapter(lambda _: values * 0 - 0.1 + torch.tensor([0.0, 0.6]), classes=1, gives="probabilities")(
            torch.rand(1, 3, 2, 2)
        )


@pytest.mark.parametrize("made_for", [1, 2])
def test_a_graph_made_for_so_many_images_is_asked_for_others(tmp_path, made_for):
    convolution = nn.Conv2d(3, 1, 3, padding=1).eval()
    path = tmp_path / "graph.onnx"
    torch.onnx.export(convolution, (torch.zeros(made_for, 3, 8, 9),), path, dynamo=True, verbose=False)
    image = torch.rand(3, 3, 8, 9)
    with torch.no_grad():
        torch.testing.assert_close(Adapter(path, classes=1)(image), convolution(image).sigmoid())


def test_it_reads_as_models_of_volumes_do():
    how = {"in_channels": 1, "window": (-150, 250), "slices": Slices()}
    ours = segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["a", "b"], **how)
    theirs = nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(UsageError, match=r"differ in .*slices.* \(an Adapter takes that of the others: reader=\)"):
        segkit.Ensemble([ours, Adapter(theirs, classes=["a", "b"], in_channels=1, window=(-150, 250))])
    member = Adapter(theirs, classes=["a", "b"], reader=ours.reader)
    assert segkit.Ensemble([ours, member]).reader == ours.reader
    with pytest.raises(UsageError, match="in the place of in_channels and window"):
        Adapter(theirs, classes=["a", "b"], reader=ours.reader, window=(0, 1))


def test_a_module_that_converts_goes_where_the_adapter_goes():
    adapter = Adapter(nn.Conv2d(1, 1, 1), classes=1, convert=nn.Conv2d(3, 1, 1))
    assert {parameter.dtype for parameter in adapter.double().parameters()} == {torch.float64}
    assert len(list(adapter.parameters())) == 4
