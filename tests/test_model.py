import copy

import numpy as np
import pytest
import torch

import segkit
from segkit import Segmenter
from segkit.errors import UsageError
from segkit.model_arguments import IMAGENET_MEAN

SWIN = {"name": "swin", "embed_dim": 12, "depths": [2, 2], "heads": [2, 2], "window": 4}
FPN = {"name": "fpn", "width": 8}


def tiny(**changes):
    torch.manual_seed(0)
    return Segmenter.create(**{"backbone": SWIN, "neck": FPN, "classes": ["background", "cell"], **changes}).eval()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (5, 61)])
@pytest.mark.parametrize("neck", [FPN, {"name": "unet", "widths": [8]}])
@pytest.mark.parametrize("stem", [False, 4])
def test_logits_have_the_images_size_whatever_it_is(size, neck, stem):
    if stem and neck["name"] == "unet":
        neck = {"name": "unet", "widths": [4, 8, 8]}
    model = tiny(neck=neck, stem=stem)
    assert model(torch.rand(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize(
    ("classes", "task", "expected", "maps", "background"),
    [
        (1, None, "binary", 1, None),
        (2, None, "binary", 1, 0),
        (3, None, "multiclass", 3, None),
        (["background", "a", "b"], None, "multiclass", 3, 0),
        (["a", "Background", "b"], None, "multiclass", 3, 1),
        (["a", "b"], "multiclass", "multiclass", 2, None),
        (["a", "b"], "multilabel", "multilabel", 2, None),
    ],
)
def test_the_task_follows_from_the_classes_unless_it_is_named(classes, task, expected, maps, background):
    model = tiny(classes=classes, task=task)
    assert (model.task, model.maps, model.background) == (expected, maps, background)
    assert model(torch.rand(1, 3, 16, 16)).shape[1] == maps


def test_probabilities_are_the_sigmoid_or_the_softmax_of_the_logits():
    image = torch.rand(1, 3, 20, 20)
    binary, multi = tiny(), tiny(classes=4)
    torch.testing.assert_close(binary.probabilities(image), 1 / (1 + torch.exp(-binary(image))))
    exponentials = torch.exp(multi(image))
    torch.testing.assert_close(multi.probabilities(image), exponentials / exponentials.sum(1, keepdim=True))


def test_statistics_of_one_model_have_entropy_and_no_disagreement():
    model, image = tiny(), torch.rand(1, 3, 20, 20)
    found = model.statistics(image)
    p = model.probabilities(image)[:, 0]
    torch.testing.assert_close(found.entropy, -(p * p.log() + (1 - p) * (1 - p).log()))
    assert found.mutual_information is None
    assert found.std is None


def test_normalisation_is_part_of_the_model():
    torch.manual_seed(0)
    image, mean, std = torch.rand(1, 2, 16, 16), [0.2, 0.7], [0.5, 0.1]
    plain, own = tiny(in_channels=2, mean=[0, 0], std=[1, 1]), tiny(in_channels=2, mean=mean, std=std)
    own.load_state_dict({**plain.state_dict(), "mean": own.mean, "std": own.std})
    normalised = (image - torch.tensor(mean).view(1, 2, 1, 1)) / torch.tensor(std).view(1, 2, 1, 1)
    torch.testing.assert_close(own(image), plain(normalised))


def test_default_normalisation_is_imagenets_for_three_channels():
    assert tiny().mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert tiny(in_channels=4).std.flatten().tolist() == [0.25] * 4


def test_auxiliary_heads_give_further_logits_of_the_same_size_in_training_only():
    model = tiny(stem=4, auxiliary=2)
    image = torch.rand(1, 3, 30, 22)
    main, *coarse = model.forward_levels(image)
    torch.testing.assert_close(main, model(image))
    assert [logits.shape for logits in coarse] == [main.shape] * 2


def test_every_parameter_learns():
    model = tiny(stem=4, auxiliary=1).train()
    sum(logits.square().mean() for logits in model.forward_levels(torch.rand(2, 3, 40, 40))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_copies_and_state_dicts_give_equal_logits():
    model, image = tiny(), torch.rand(1, 3, 24, 24)
    again = tiny()
    again.load_state_dict(model.state_dict())
    assert torch.equal(copy.deepcopy(model)(image), model(image))
    assert torch.equal(again(image), model(image))


def test_autocast_gives_float32_probabilities():
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny().probabilities(torch.rand(1, 3, 16, 16)).dtype == torch.float32


def test_two_builds_from_one_seed_are_equal():
    for a, b in zip(tiny().parameters(), tiny().parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "swin_tinny"}, "did you mean 'swin_tiny'"),
        ({"backbone": {"name": "resnet18", "drop": 1}}, "backbone 'resnet18' has no option 'drop'"),
        ({"neck": "fnp"}, "did you mean 'fpn'"),
        ({"head": "upsampel"}, "did you mean 'upsample'"),
        ({"classes": 5, "task": "binary"}, "task 'binary' with 5 classes"),
        ({"classes": ["a", "a"]}, "each different"),
        ({"classes": 0}, "at least one name"),
        ({"background": "sky"}, "background 'sky' is not one of the classes"),
        ({"background": 2}, "background 2: expected a class id from 0 to 1"),
        ({"mean": [0.5]}, "mean has 1 and std 3 values for 3 channels"),
        ({"auxiliary": 9}, "auxiliary=9, but this neck has 1 maps coarser"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message):
        tiny(**changes)


def test_a_coarse_map_is_the_mean_over_its_cells_and_is_enlarged_to_the_image():
    model, plain = tiny(input_size=(24, 40), output_size=(3, 5)), tiny()
    plain.load_state_dict(model.state_dict())
    image = torch.rand(2, 3, 24, 40)
    with torch.no_grad():
        cells = plain(image).unfold(2, 8, 8).unfold(3, 8, 8).mean((-1, -2))
        torch.testing.assert_close(model.grid_logits(image), cells)
        torch.testing.assert_close(model.forward_levels(image), [cells])
        enlarged = torch.nn.functional.interpolate(cells, (24, 40), mode="bilinear")
        torch.testing.assert_close(model(image), enlarged)


@pytest.mark.parametrize("size", [(24, 40), (7, 90), (33, 47)])
def test_an_image_of_any_size_is_brought_to_the_models_own(size):
    model = tiny(input_size=(24, 40), output_size=(3, 5))
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    assert model(torch.rand(1, 3, *size)).shape == (1, 1, *size)
    assert model.grid_logits(torch.rand(1, 3, *size)).shape == (1, 1, 3, 5)
    assert seen == [(1, 3, 24, 40)] * 2


def test_an_input_size_alone_keeps_the_map_fine():
    model = tiny(input_size=(16, 16))
    assert model.grid_logits(torch.rand(1, 3, 50, 30)).shape == (1, 1, 16, 16)
    assert model(torch.rand(1, 3, 50, 30)).shape == (1, 1, 50, 30)
    assert model.takes_whole_images
    assert not tiny().takes_whole_images


def test_a_coarse_map_alone_means_an_image_of_eight_times_its_size():
    assert tiny(output_size=[3, 5]).input_size == (24, 40)


def test_sizes_that_make_no_sense():
    with pytest.raises(UsageError, match=r"input_size is \(0, 4\); expected .*, both whole and 1 or more"):
        tiny(input_size=(0, 4))
    with pytest.raises(UsageError, match=r"output_size is \[4\]; expected \[height, width\]"):
        tiny(output_size=[4])
    with pytest.raises(UsageError, match=r"input_size is \[64.5, 64\]; expected"):
        tiny(input_size=[64.5, 64])
    with pytest.raises(UsageError, match=r"input_size is 64; expected"):
        tiny(input_size=64)
    with pytest.raises(UsageError, match=r"output_size \[9, 4\] is larger than input_size \[8, 8\]"):
        tiny(input_size=(8, 8), output_size=(9, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "multi-class"}, "task 'multi-class': expected one of binary, multilabel, multiclass"),
        ({"std": [0, 0, 0]}, r"std=\[0, 0, 0\]: expected finite numbers, those of std above 0"),
        ({"std": [1, 1, -1]}, "those of std above 0"),
        ({"mean": [0, 0, float("nan")]}, "expected finite numbers"),
        ({"mean": 0.5}, "mean=0.5: expected a list of 3, one a channel"),
        ({"auxiliary": -1}, "auxiliary=-1: expected the number of auxiliary heads, 0 or more"),
        ({"auxiliary": "a"}, "auxiliary='a': expected"),
        ({"background": 1.5}, "background 1.5: expected a class id"),
        ({"in_channels": True}, "in_channels=True: expected a whole number, 1 or more"),
        ({"in_channels": 3.0}, "in_channels=3.0: expected"),
        ({"in_channels": "3"}, "in_channels='3': expected"),
        ({"stem": 1.5}, "stem=1.5: expected true, false, or the stem's width"),
        ({"stem": -1}, "stem=-1: expected"),
        ({"classes": None}, "classes=None: expected names, or their number"),
        (
            {"window": "pic"},
            "window 'pic': expected two rising intensities, .*, one of brain, .*, or None",
        ),
        ({"backbone": {"name": None}}, r"\{'name': None\}: expected a name, or \{'name': …"),
        ({"backbone": {"name": "resnet18", "in_channels": 4}}, "resnet18: in_channels is no option; it follows from"),
        (
            {"backbone": {"name": "swin", "mlp_ratio": "4"}},
            "'swin': mlp_ratio is '4'; expected a valid number",
        ),
        ({"backbone": {"name": "swin", "heads": [0] * 4}}, r"heads is \[0, 0, 0, 0\]; expected 1 or more"),
        ({"backbone": {"name": "swin", "out_norm": "no"}}, "out_norm is 'no'; expected a valid boolean"),
        ({"neck": {"name": "fpn", "width": -1}}, "neck 'fpn': width is -1; expected 1 or more"),
        ({"neck": {"name": "unet", "widths": [0]}}, r"neck 'unet': widths is \[0\]; expected 1 or more"),
        (
            {"head": {"name": "upsample", "doublings": 1.5}},
            "'upsample': doublings is 1.5; expected a valid integer",
        ),
    ],
)
def test_values_of_the_wrong_kind_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        tiny(**options)


def test_images_of_other_channels_or_kinds_are_refused():
    model = tiny()
    for image in (torch.rand(1, 1, 9, 9), torch.rand(1, 4, 9, 9), torch.rand(3, 9, 9)):
        with pytest.raises(ValueError, match=r"got images \[.*\]; this model takes \[B, 3, H, W\]"):
            model(image)
    with pytest.raises(ValueError, match=r"got images of torch.uint8; this model takes float in 0..1"):
        model(torch.zeros(1, 3, 9, 9, dtype=torch.uint8))


def test_numbers_of_numpy_and_ranges_can_be_saved(tmp_path):
    backbone = {"name": "stem", "width": np.int64(4), "depth": 3, "levels": range(3)}
    model = tiny(backbone=backbone, neck="unet", in_channels=np.int64(3)).eval()
    image = torch.rand(1, 3, 9, 9)
    assert torch.equal(segkit.load(segkit.save(model, tmp_path / "m"))(image), model(image))


def test_a_window_of_ct_goes_by_its_name():
    assert tiny(window="lung").reader.window == (-1350, 150)
    assert segkit.Adapter(lambda x: x, classes=1, window="bone").reader.window == (-500, 1300)
