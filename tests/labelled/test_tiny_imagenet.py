import pytest

from segkit.errors import DataError
from segkit.labelled.opening import open_labelled


@pytest.fixture
def tiny_imagenet(tmp_path, draw):
    """Three classes, two of which have one name, as Tiny-ImageNet is unpacked."""
    folder = tmp_path / "tiny-imagenet-200"
    for wnid in ("n03", "n01", "n02"):
        for number in range(3):
            draw(folder / "train" / wnid / "images" / f"{wnid}_{number}.JPEG")
        (folder / "train" / wnid / f"{wnid}_boxes.txt").touch()
    for number in range(3):
        draw(folder / "val" / "images" / f"val_{number}.JPEG", number)
        draw(folder / "test" / "images" / f"test_{number}.JPEG")
    (folder / "val" / "val_annotations.txt").write_text(
        "val_1.JPEG\tn01\t0\t0\t9\t9\nval_0.JPEG\tn03\t0\t0\t9\t9\nval_2.JPEG\tn02\t0\t0\t9\t9\n"
    )
    (folder / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane\nn04\tnewt\n")
    return folder


def test_it_has_the_classes_in_the_order_of_their_ids_and_the_splits_that_have_labels(tiny_imagenet):
    images = open_labelled(tiny_imagenet)
    assert images.classes == ("goldfish", "crane (n02)", "crane (n03)")
    assert images.name == "tiny-imagenet-200"
    assert {split: len(found) for split, found in images.splits.items()} == {"train": 9, "val": 3, "unlabelled": 3}
    assert images.names[0] == "train/n01/images/n01_0"
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 1, -1, -1, -1]
    assert images.read(int(images.splits["val"][1])).max() <= 2
    assert images.notes == ("the test images have no labels; published figures are of val",)


def test_without_words_classes_are_called_by_their_ids(tiny_imagenet):
    (tiny_imagenet / "words.txt").unlink()
    assert open_labelled(tiny_imagenet).classes == ("n01", "n02", "n03")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "has no line for val_2.JPEG"),
        ("val_2.JPEG\tn02\nval_3.JPEG\tn01", r"val_3\.JPEG is not there \(1 files are missing\)"),
        ("val_2.JPEG\tn09", r"line 3: expected a file and the id of a class in train/, found 'val_2\.JPEG\\tn09'"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(tiny_imagenet, line, message):
    path = tiny_imagenet / "val" / "val_annotations.txt"
    path.write_text(f"val_1.JPEG\tn01\nval_0.JPEG\tn03\n{line}\n")
    with pytest.raises(DataError, match=message):
        open_labelled(tiny_imagenet)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="not a readable text file"):
        open_labelled(tiny_imagenet)
