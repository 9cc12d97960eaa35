"""What may be asked for, how it is kept, and what is said of what may not."""

import pytest
import yaml

from segkit.errors import RecipeError
from segkit.postprocessing.settings import Postprocessing, amount_of, of_class
from segkit.postprocessing.targets import Scale, check, of_picture
from segkit.recipe_file import load_recipe

ORGANS = ("background", "liver", "tumour")


def test_one_value_is_for_every_class():
    settings = Postprocessing(thresholds=0.4, largest=True, smallest="50 mm3", holes=True)
    assert settings.kept() == {
        "thresholds": {"*": 0.4},
        "largest": ["*"],
        "smallest": {"*": "50 mm3"},
        "holes": {"*": "all"},
    }
    assert of_class({"liver": 1, "*": 2}, "liver") == 1
    assert of_class({"liver": 1, "*": 2}, "tumour") == 2
    assert of_class({"liver": 1}, "tumour") is None


def test_what_is_kept_gives_the_same_settings():
    settings = Postprocessing(
        smoothing="1.5mm",
        thresholds={"liver": 0.3},
        largest=["liver"],
        smallest={"*": " 20  px"},
        holes={"liver": True},
    )
    assert settings.smoothing == "1.5 mm"
    assert settings.smallest == {"*": "20 px"}
    assert Postprocessing(**settings.kept()) == settings
    assert Postprocessing(**yaml.safe_load(yaml.safe_dump(settings.model_dump(mode="json")))) == settings
    assert Postprocessing().kept() is None
    assert Postprocessing(largest=False, smallest=None, holes=False) == Postprocessing()


def test_steps_are_in_the_order_in_which_they_are_done():
    settings = Postprocessing(holes=True, smallest="5 px", largest=True, thresholds=0.4, smoothing="1 px")
    assert settings.steps == ("smoothing", "thresholds", "largest", "smallest", "holes")
    assert settings.without("thresholds").steps == ("smoothing", "largest", "smallest", "holes")
    assert [Postprocessing(**{step: getattr(settings, step)}).relabels for step in settings.steps] == [True] * 2 + [
        False
    ] * 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{smallest: 50}", "smallest.*: expected a number above 0 and its unit, such as '5 mm3' or '5 mm2' or '5 px'"),
        ("{smallest: {liver: 50 mm}}", "smallest.liver: expected a number above 0 and its unit"),
        ("{smoothing: 0 px}", "smoothing: expected a number above 0 and its unit, such as '5 mm' or '5 px'; found '0"),
        ("{thresholds: 1.5}", "thresholds.*: Input should be less than 1"),
        ("{holes: [1]}", "holes.*: expected a number above 0"),
        ("{largest: liver}", "largest: Input should be a valid list"),
        ("{large: true}", "large: no such key; did you mean 'largest'?"),
    ],
)
def test_a_wrong_recipe_names_the_key(value, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe("demo", [f"predict.postprocess={value}"])
    assert f"demo.yaml: predict.postprocess.{message}" in str(caught.value)


def test_a_recipe_keeps_it():
    recipe = load_recipe("demo", ["predict.postprocess.largest=true", "predict.postprocess.holes=20 px"])
    assert recipe.predict.postprocess == Postprocessing(largest=True, holes="20 px")
    assert load_recipe("demo").predict.postprocess is None


@pytest.mark.parametrize(
    ("settings", "background", "message"),
    [
        ({"largest": ["livr"]}, 0, "largest: no foreground class 'livr'; did you mean 'liver'?"),
        (
            {"smallest": {"background": "5 px"}},
            0,
            "smallest: no foreground class 'background'; the background is what is left of the others",
        ),
        (
            {"largest": True},
            None,
            "largest: no class is named as background, which what is removed would become; leave it out",
        ),
        ({"holes": True}, None, "holes: no class is named as background, which holes would be of; leave it out"),
    ],
)
def test_classes_must_be_there(settings, background, message):
    with pytest.raises(RecipeError) as caught:
        check(Postprocessing(**settings), "multiclass", ORGANS, background)
    assert str(caught.value) == f"predict.postprocess.{message}"


def test_a_binary_task_has_one_class_to_name():
    check(Postprocessing(thresholds={"vessel": 0.4}), "binary", ("vessel",), None)
    with pytest.raises(RecipeError, match="no foreground class 'artery'; there are: vessel"):
        check(Postprocessing(thresholds={"artery": 0.4}), "binary", ("background", "vessel"), 0)


def test_sizes_in_pixels():
    assert amount_of("0.5 mm3") == (0.5, "mm3")
    volume, picture = Scale((4, 5, 6), (0.5, 1, 2)), Scale((8, 9), (3, 1))
    assert volume.fewest_pixels("50 mm3") == volume.most_pixels("50 mm3") == 50
    assert (picture.fewest_pixels("10 mm2"), picture.most_pixels("10 mm2")) == (4, 3)
    assert (Scale((4, 5, 6)).fewest_pixels("7 px"), Scale((8, 9)).most_pixels("7 px")) == (7, 7)
    rounded = Scale((8, 9), (0.1, 1))
    assert rounded.fewest_pixels("0.3 mm2") == rounded.most_pixels("0.3 mm2") == 3  # 0.1 · 3 > 0.3 in floats
    assert Scale((4, 5, 6), (1.5, 1, 6)).deviations("3 mm") == [2, 3, 0.5]
    assert Scale((4, 5, 6), (1.5, 1, 6)).deviations("2 px") == [2, 2, 2]


def test_a_single_slice_has_an_area_and_a_volume():
    slice_ = Scale((4, 1, 6), (0.5, 5, 2))
    assert slice_.fewest_pixels("10 mm2") == 10
    assert slice_.fewest_pixels("10 mm3") == 2


def test_pictures_at_a_resolution_have_a_spacing():
    assert of_picture(None, None) is None
    assert of_picture(None, 0.5) == (0.0005, 0.0005)
    assert of_picture((0.25, 0.5), 1.0) == (0.00025, 0.0005)


AREA, VOLUME = Scale((4, 5), (1, 1)), Scale((4, 5, 6), (1, 1, 1))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: AREA.fewest_pixels("5 mm3"),
            "smallest: 5 mm3 is of a volume; this is a picture, give it in mm2 or px",
        ),
        (lambda: VOLUME.most_pixels("5 mm2"), "holes: 5 mm2 is an area; this is a volume, give it in mm3 or px"),
        (lambda: Scale((4, 5)).fewest_pixels("5 mm2"), "smallest: 5 mm2, but nothing says how large this image's"),
        (lambda: Scale((4, 5)).deviations("5 mm"), "smoothing: 5 mm, but nothing says how large"),
        (lambda: Scale((4, 5), (1, 1, 1)).deviations("5 mm"), r"spacing=\(1, 1, 1\): expected 2 distances above 0, in"),
        (lambda: Scale((4, 5), (1, 0)).fewest_pixels("5 mm2"), r"spacing=\(1, 0\): expected 2 distances above 0"),
    ],
)
def test_sizes_that_can_not_be_told(ask, message):
    with pytest.raises(RecipeError, match=message):
        ask()


def test_settings_in_words():
    settings = Postprocessing(smoothing="1 mm", thresholds={"liver": 0.3, "*": 0.4}, largest=True, holes=True)
    assert settings.described() == (
        "smoothing 1 mm; thresholds liver 0.3, every class 0.4; largest every class; holes every class all"
    )
