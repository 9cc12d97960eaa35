"""What can be wrong with the masks."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image


def test_masks_of_0_and_255_are_read_and_said(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.png", 255 * cells.mask(name))
    assert found(cells.path, notes=True) == {
        "decided": ["masks (the masks hold {0, 255}: read as background and foreground)"]
    }


def test_masks_of_0_and_255_among_masks_of_ids_teach_nothing(cells, found):
    cells.write(f"masks/{cells.train[0]}.png", 255 * cells.mask(cells.train[0]))
    told = found(cells.path, notes=True)
    assert told == {"mixed_coding": [f"masks/{cells.train[0]}.png"], "nothing_drawn": [cells.train[0]]}  # each once


def test_values_that_are_no_class(cells, found):
    first, second = cells.train[:2]
    mask = cells.mask(first)
    mask[:4] = 2
    cells.write(f"masks/{first}.png", mask)
    cells.write(f"masks/{second}.png", cv2.GaussianBlur(255 * cells.mask(second), (5, 5), 0))
    told = found(cells.path)
    assert told["unknown_ids"] == [f"masks/{first}.png (values {{0, 1, 2}}, classes are 0..1)"]
    [place] = told["interpolated"]
    assert place.startswith(f"masks/{second}.png (values {{0, ")


def test_instance_ids_are_no_interpolation(cells, found):
    name = cells.train[0]
    mask = cells.mask(name).astype(np.uint16)
    mask[mask == 1] = np.arange(mask.sum()) + 300
    cells.write(f"masks/{name}.png", mask)
    told = found(cells.path, notes=True)
    assert set(told) == {"unknown_ids", "wide_masks"}


def test_lossy_masks_are_named(cells, found):
    for name in cells.train:
        cells.write(f"masks/{name}.jpg", 255 * cells.mask(name))
        (cells.path / f"masks/{name}.png").unlink()
    assert found(cells.path) == {"lossy": [f"masks/{name}.jpg" for name in cells.train]}


def test_a_folder_of_nothing_but_lossy_masks(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.webp", 255 * cells.mask(name), cv2.IMWRITE_WEBP_QUALITY, 60)
        (cells.path / f"masks/{name}.png").unlink()
    told = found(cells.path, notes=True)
    assert set(told) == {"lossy", "decided"}
    assert told["decided"] == ["masks (the masks hold {0, 255}: read as background and foreground)"]


def test_masks_in_colour_need_a_palette(cells, found):
    name = cells.train[0]
    colours = np.array([[20, 30, 40], [250, 10, 10]], np.uint8)
    cells.write(f"masks/{name}.png", colours[cells.mask(name)])
    assert found(cells.path) == {"colour": [f"masks/{name}.png"]}


def test_colours_that_are_not_in_the_palette(cells, found):
    colours = np.array([[20, 30, 40], [250, 10, 10]], np.uint8)
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.png", colours[cells.mask(name)])
    cells.describe(palette={"background": "#141e28", "cell": [250, 10, 10]})
    assert found(cells.path) == {}
    first, second = cells.train[:2]
    strange = colours[cells.mask(first)[..., 0] // 250]
    strange[0, 0] = (1, 2, 3)
    cells.write(f"masks/{first}.png", strange)
    cells.write(f"masks/{second}.png", cv2.GaussianBlur(cells.image(second) // 99 * 99, (5, 5), 0))
    told = found(cells.path)
    assert told["unknown_ids"] == [f"masks/{first}.png (#010203)"]
    [place] = told["interpolated"]
    assert place.startswith(f"masks/{second}.png (#")


def test_transparency_and_wide_values_are_notes(cells, found):
    first, second, third = cells.train[:3]
    grey = Image.fromarray(cells.mask(first))
    Image.merge("LA", [grey, grey]).save(cells.path / f"masks/{first}.png")
    cells.write(f"masks/{second}.png", cells.mask(second).astype(np.uint16))
    indexed = Image.fromarray(cells.mask(third), mode="P")
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.save(cells.path / f"masks/{third}.png")
    assert found(cells.path, notes=True) == {
        "alpha": [f"masks/{first}.png"],
        "wide_masks": [f"masks/{second}.png"],
    }


def test_a_mask_of_another_size(cells, found):
    name = cells.train[0]
    cells.write(f"masks/{name}.png", cells.mask(name)[:32])
    assert found(cells.path) == {"size": [f"masks/{name}.png (64×32, its picture 64×64)"]}


def test_classes_that_are_missing_in_training_or_everywhere(cells, found):
    cells.describe(classes=["background", "cell", "vessel", "dust"], task="multiclass")
    mask = cells.mask(cells.test[0])
    mask[:5] = 2
    cells.write(f"masks/{cells.test[0]}.png", mask)
    assert found(cells.path) == {"only_elsewhere": ["vessel (in test)"], "absent": ["dust"]}


def test_a_training_split_of_one_class_teaches_nothing(cells, found):
    for name in cells.train:
        cells.write(f"masks/{name}.png", 0 * cells.mask(name))
    told = found(cells.path)
    assert told["nothing_to_learn"] == ["train (only background)"]


def test_pictures_where_nothing_is_drawn_are_noted(cells, found):
    name = cells.val[0]
    cells.write(f"masks/{name}.png", 0 * cells.mask(name))
    assert found(cells.path) == {}
    assert found(cells.path, notes=True) == {"nothing_drawn": [name]}
    cells.describe(classes=["sky", "cell", "dust"], task="multiclass")
    assert "nothing_drawn" not in found(cells.path, notes=True)
    cells.describe(classes=["sky", "cell", "dust"], task="multiclass", background="sky")
    assert found(cells.path, notes=True)["nothing_drawn"] == [name]


def test_a_picture_in_which_nothing_counts(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"fov/{name}.png", np.full((64, 64), name != cells.train[0], np.uint8))
    cells.describe(roi="fov")
    assert found(cells.path)["ignored"] == [cells.train[0]]


def test_multilabel_masks_are_checked_class_by_class(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        mask = cells.mask(name)
        (cells.path / f"masks/{name}.png").unlink()
        cells.write(f"masks/{name}/cell.png", 255 * mask)
        cells.write(f"masks/{name}/dust.png", 255 * (mask[::-1] * np.uint8(name not in cells.train)))
    cells.describe(task="multilabel", classes=["cell", "dust"], background=None)
    assert found(cells.path) == {"only_elsewhere": ["dust (in val, test)"]}
    (cells.path / f"masks/{cells.train[0]}/dust.png").rename(cells.path / f"masks/{cells.train[0]}/dusk.png")
    assert found(cells.path)["unreadable"] == [f"masks/{cells.train[0]}/dust.png (no such file; did you mean 'dusk'?)"]


@pytest.mark.parametrize("turn", [lambda m: m[:, ::-1], lambda m: m.T])
def test_masks_that_lie_wrong_are_a_warning(cells, found, turn):
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.png", turn(cells.mask(name)))
    [place] = found(cells.path)["turned"]
    assert place.endswith("of 12 masks say so)")


def test_an_id_too_many_beside_255_to_ignore_is_no_interpolation(cells, found):
    name = cells.train[0]
    mask = cells.mask(name)
    mask[0, :4], mask[1] = 2, 255
    cells.write(f"masks/{name}.png", mask)
    assert set(found(cells.path)) == {"unknown_ids"}
    plain = 255 * cells.mask(cells.train[1])
    plain[0, :3] = 127
    cells.write(f"masks/{cells.train[1]}.png", plain)
    assert set(found(cells.path)) == {"unknown_ids", "interpolated"}


def test_of_three_classes_255_alone_is_ignored_and_no_slip(cells, found):
    cells.describe(classes=["background", "cell", "nucleus"])
    for name in (*cells.train, *cells.val, *cells.test):
        mask = cells.mask(name)
        mask[:5] = 2
        cells.write(f"masks/{name}.png", mask)
    cells.write(f"masks/{cells.train[0]}.png", 255 * cells.mask(cells.train[0]))
    assert "mixed_coding" not in found(cells.path)


def test_255_is_foreground_beside_another_value_to_ignore(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        mask = 255 * cells.mask(name)
        mask[0] = 128
        cells.write(f"masks/{name}.png", mask)
    cells.describe(ignore_index=128)
    assert found(cells.path) == {}


def test_without_a_description_one_smoothed_mask_among_others_is_named(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        cells.write(f"masks/{name}.png", 255 * cells.mask(name))
    (cells.path / "dataset.yaml").unlink()
    name = cells.train[0]
    cells.write(f"masks/{name}.png", cv2.GaussianBlur(cells.mask(name), (5, 5), 0))
    told = found(cells.path)
    assert "coding" not in told
    assert [place.partition(" ")[0] for place in told["interpolated"]] == [f"masks/{name}.png"]


def test_masks_that_can_not_be_read_as_what_they_are(cells, found):
    first, second = cells.train[:2]
    (cells.path / f"masks/{first}.png").unlink()
    tifffile.imwrite(cells.path / f"masks/{first}.tif", cells.mask(second).astype(np.uint32) * 70_000)
    (told,) = found(cells.path)["unreadable"]
    assert told.startswith(
        f"masks/{first}.tif (the mask holds values up to 70000; ids go to 65535. Export ids of classes"
    )
    four = np.zeros((64, 64, 4), np.uint8)
    tifffile.imwrite(cells.path / f"masks/{first}.tif", four, photometric="rgb", extrasamples=["unspecified"])
    cells.describe(palette={"background": "#000000", "cell": [250, 10, 10]})
    told = found(cells.path)["unreadable"]
    assert f"masks/{first}.tif (a colour-coded mask has three channels, found 4; export plain RGB)" in told


def test_a_mask_on_a_coarser_level_of_its_slide_fits(cells, found):
    name = cells.train[0]
    (cells.path / f"images/{name}.png").unlink()
    image = cells.image(cells.train[1])
    with tifffile.TiffWriter(cells.path / f"images/{name}.tif") as file:
        file.write(image, subifds=1, tile=(16, 16), photometric="rgb")
        file.write(image[::2, ::2], subfiletype=1, tile=(16, 16), photometric="rgb")
    cells.write(f"masks/{name}.png", cells.mask(name)[::2, ::2])
    assert "size" not in found(cells.path)
