"""Folds: every picture in one part, groups together, rare classes spread."""

import cv2
import numpy as np
import pytest
import yaml

from segkit.data.folder import open_dataset
from segkit.data.folds import deal, draw_folds
from segkit.errors import DataError


@pytest.fixture
def dataset(tmp_path):
    """A dataset of pictures that each hold the named classes."""

    def build(held, **description):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir()
        for number, classes in enumerate(held):
            mask = np.zeros((4, 8), np.uint8)
            for column, k in enumerate(classes):
                mask[:, column] = k
            cv2.imwrite(str(tmp_path / "masks" / f"p{number:02}.png"), mask)
            cv2.imwrite(str(tmp_path / "images" / f"p{number:02}.png"), mask * 20)
        names = [f"p{number:02}" for number in range(len(held))]
        values = {"classes": ["background", "often", "rare"], "splits": {"train": names}, **description}
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(values))
        return open_dataset(tmp_path)

    return build


def test_a_rare_class_is_in_every_part(dataset):
    folder = dataset([[0, 1, 2]] * 3 + [[0, 1]] * 6 + [[0]] * 3)
    folds = draw_folds(folder, folder.samples("train"), 3)
    names = [sorted(sample.name for sample in fold) for fold in folds]
    assert sorted(name for fold in names for name in fold) == [f"p{i:02}" for i in range(12)]
    for fold in names:
        numbers = [int(name[1:]) for name in fold]
        assert (len(fold), sum(n < 3 for n in numbers), sum(n < 9 for n in numbers)) == (4, 1, 3)


def test_the_same_pictures_give_the_same_parts_in_any_order(dataset):
    folder = dataset([[0, 1]] * 7)
    samples = folder.samples("train")
    assert draw_folds(folder, samples, 3) == draw_folds(folder, samples[::-1], 3)


def test_a_group_stays_together(dataset):
    groups = {"a": ["p00", "p01", "p02"], "b": ["p03", "p04"]}
    folder = dataset([[0, 1]] * 8, groups=groups)
    folds = [{sample.name for sample in fold} for fold in draw_folds(folder, folder.samples("train"), 3)]
    for stems in groups.values():
        assert sum(bool(fold & set(stems)) for fold in folds) == 1


def test_there_are_no_more_parts_than_groups(dataset):
    folder = dataset([[0, 1]] * 4, groups={"a": ["p00", "p01"], "b": ["p02", "p03"]})
    assert len(draw_folds(folder, folder.samples("train"), 5)) == 2


@pytest.mark.parametrize(
    ("held", "groups", "message"),
    [(1, {}, "there is one picture"), (2, {"a": ["p00", "p01"]}, "all pictures are of one group")],
)
def test_one_unit_makes_no_folds(dataset, held, groups, message):
    folder = dataset([[0, 1]] * held, groups=groups)
    with pytest.raises(DataError, match=f"{message}, so there are no folds; leave folds out"):
        draw_folds(folder, folder.samples("train"), 5)


def test_no_part_is_empty_whatever_the_units():
    random = np.random.default_rng(0)
    for _ in range(200):
        units, count = int(random.integers(2, 12)), int(random.integers(2, 6))
        sizes = random.integers(1, 30, units)
        holds = random.integers(0, 2, (units, 4)) * sizes[:, None]
        assert len(set(deal(holds, sizes, min(count, units)))) == min(count, units)
