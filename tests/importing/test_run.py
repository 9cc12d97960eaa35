"""What holds for every layout: where a dataset is written, what a failure leaves, links, what is left out."""

import json
import shutil

import numpy as np
import pytest
from importing.layouts import contents, ids, nnunet_pictures, picture, write_json, write_nifti, write_png

import segkit
from segkit.errors import DataError, UsageError
from segkit.importing import case_files
from segkit.importing import run as run_module
from segkit.importing.detect import kind_of
from segkit.importing.run import import_dataset


@pytest.fixture
def source(tmp_path):
    return nnunet_pictures(tmp_path / "Dataset012_Things")


def left(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_links_lead_to_the_source(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = import_dataset(source.name, "out", link_files=True)
    assert report.linked
    for part, place, ending in (("images", "imagesTr", "_0000.png"), ("masks", "labelsTr", ".png")):
        for number in range(6):
            link = tmp_path / f"out/{part}/cell_{number}.png"
            assert link.is_symlink()
            assert link.resolve() == (source / place / f"cell_{number}{ending}").resolve()
    monkeypatch.chdir("/")
    assert not segkit.check(tmp_path / "out").errors
    assert "links to the source" in report.table()


def test_what_has_to_be_written_anew_is_no_link(source, tmp_path):
    about = json.loads((source / "dataset.json").read_text())
    write_json(source / "dataset.json", {**about, "labels": {"background": 0, "a": [1, 2], "b": 2}})
    import_dataset(source, tmp_path / "out", link_files=True)
    assert (tmp_path / "out/images/cell_0.png").is_symlink()
    assert not (tmp_path / "out/masks/cell_0/a.png").is_symlink()


def test_without_links_in_the_file_system_it_is_said(source, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(case_files.Path, "symlink_to", refuse)
    with pytest.raises(UsageError, match=r"no link to it can be made \(Operation not permitted\); leave --link out"):
        import_dataset(source, tmp_path / "out", link_files=True)
    assert left(tmp_path) == [source.name]


def test_copies_may_be_changed_where_the_originals_may_not(source, tmp_path):
    for file in source.rglob("*.png"):
        file.chmod(0o444)
    import_dataset(source, tmp_path / "out")
    assert all(file.stat().st_mode & 0o200 for file in (tmp_path / "out").rglob("*.png"))


def test_an_empty_folder_is_taken_and_a_full_one_is_not(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    import_dataset(source, out)
    with pytest.raises(UsageError, match="out: is there already; a dataset is imported into a new or empty folder"):
        import_dataset(source, out)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: is there already"):
        import_dataset(source, tmp_path / "file")


def test_folders_above_are_made(source, tmp_path):
    import_dataset(source, tmp_path / "a/b/out")
    assert left(tmp_path / "a/b") == ["out"]


def test_the_current_folder_may_be_it(source, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    import_dataset(source, ".")
    assert left(tmp_path / "out") == ["dataset.yaml", "images", "masks"]


@pytest.mark.parametrize("place", ["Dataset012_Things/out", "Dataset012_Things", "."])
def test_neither_in_the_source_nor_around_it(place, source, tmp_path):
    with pytest.raises(UsageError, match=r"is there already|can't lie in the source, nor around it"):
        import_dataset(source, tmp_path / place)


def test_a_full_disk_leaves_nothing(source, tmp_path, monkeypatch):
    copies = iter(range(5))

    def full(origin, target):
        if next(copies) == 4:
            raise OSError(28, "No space left on device")
        shutil.copyfile(origin, target)

    monkeypatch.setattr(run_module, "copy", full)
    monkeypatch.setattr(run_module, "AT_A_TIME", 1)
    with pytest.raises(UsageError, match=r"out: can't be written \(No space left on device\); nothing was left there"):
        import_dataset(source, tmp_path / "out")
    assert left(tmp_path) == [source.name]


def test_an_interrupt_leaves_nothing(source, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dataset(source, tmp_path / "out", progress=stop)
    assert left(tmp_path) == [source.name]


def test_progress_counts_the_cases(source, tmp_path):
    seen = []
    import_dataset(source, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 6) for number in range(1, 7)]


def test_the_same_source_gives_the_same_bytes(source, tmp_path):
    about = json.loads((source / "dataset.json").read_text())
    write_json(source / "dataset.json", {**about, "labels": {"background": 0, "a": [1, 2], "b": 2}})
    for out in ("one", "two"):
        import_dataset(source, tmp_path / out)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_with_partial_damaged_cases_are_left_out_with_the_reason(source, tmp_path):
    (source / "imagesTr/cell_1_0000.png").unlink()
    write_png(source / "labelsTr/cell_2.png", np.full((12, 16), 9, dtype=np.uint8))
    (source / "imagesTr/cell_3_0000.png").write_bytes(b"not a picture")
    write_json(source / "splits_final.json", [{"train": ["cell_0", "cell_1", "cell_2", "cell_9"], "val": ["cell_4"]}])
    report = import_dataset(source, tmp_path / "out", partial=True)
    assert report.cases == 3
    missing, unknown, refused = report.left_out
    assert (missing.what, missing.names) == ("cases with files that aren't there", ("cell_1",))
    assert (unknown.what, unknown.names) == ("names in splits that aren't there", ("cell_9",))
    assert refused.what == "cases that can't be used"
    assert [reason.split(": ")[0].rsplit("/")[-1] for reason in refused.names] == ["cell_2.png", "cell_3_0000.png"]
    assert segkit.open_dataset(tmp_path / "out").splits == {"train": ("cell_0",), "val": ("cell_4",)}
    assert left(tmp_path / "out/images") == left(tmp_path / "out/masks") == ["cell_0.png", "cell_4.png", "cell_5.png"]
    assert left(tmp_path / "out") == ["dataset.yaml", "images", "masks"]


def test_where_nothing_can_be_used_the_first_reason_is_given(source, tmp_path):
    for number in range(6):
        write_png(source / f"labelsTr/cell_{number}.png", np.full((12, 16), 9, dtype=np.uint8))
    with pytest.raises(DataError, match=r"cell_0.png: mask has values \{9\}; labels in dataset.json: \{0, 1, 2\}"):
        import_dataset(source, tmp_path / "out", partial=True)
    assert left(tmp_path) == [source.name]


def test_where_there_is_nothing_the_source_is_named(source, tmp_path):
    for number in range(6):
        (source / f"imagesTr/cell_{number}_0000.png").unlink()
    with pytest.raises(DataError) as caught:
        import_dataset(source, tmp_path / "out", partial=True)
    assert str(caught.value) == f"{source}: there is no case with a mask"


@pytest.mark.parametrize(
    ("place", "options", "error", "message"),
    [
        ("nowhere", {}, DataError, "nowhere: no such folder"),
        (
            "archive.zip",
            {},
            DataError,
            "archive.zip: a file; name the dataset's folder .unpacked., or a JSON of COCO's",
        ),
        ("empty", {}, DataError, "empty: no layout that is known .nnunet: dataset.json with 'channel_names'"),
        ("around", {}, DataError, "around: no dataset itself, but .*around/inner looks like one; import that"),
        ("both", {}, UsageError, r"both: looks like nnunet .*, voc .*; say which with --from \(in Python kind=\)"),
        ("Dataset012_Things", {"kind": "nnUnet"}, UsageError, "no layout 'nnUnet'; did you mean 'nnunet'?"),
        ("Dataset012_Things", {"kind": "decathlon"}, DataError, "dataset.json: labels.background.*; .* more faults"),
        (
            "Dataset012_Things",
            {"kind": "coco"},
            DataError,
            "no JSON with 'images', 'annotations' and 'categories' in it",
        ),
        ("Dataset012_Things", {"kind": "voc"}, DataError, "SegmentationClass: no such folder"),
        ("empty", {"kind": "nnunet"}, DataError, r"dataset.json: can't be read \(No such file or directory\)"),
        ("Dataset012_Things", {"multilabel": True}, UsageError, "multilabel is for coco; in nnunet the files say what"),
        ("some.json", {"kind": "voc"}, UsageError, "some.json: a file; of voc the folder is named"),
        ("some.json", {}, DataError, "some.json: images: missing; 2 more faults"),
        ("broken", {}, DataError, "broken/dataset.json: not valid JSON: "),
        ("badly_named", {}, DataError, r"'\.hidden' can't be the name of a case's files; rename it"),
        ("gif", {}, DataError, r"imagesTr/x_0000.gif: no volume that is read here \(.nii"),
    ],
)
def test_what_can_not_be_imported_is_said_in_one_line(place, options, error, message, source, tmp_path):
    (tmp_path / "archive.zip").touch()
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "some.json", {"a": 1})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/dataset.json").write_text("{")
    nnunet_pictures(tmp_path / "around/inner")
    nnunet_pictures(tmp_path / "both")
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "both" / folder).mkdir()
    listed = {".hidden": {"images": ["imagesTr/cell_0_0000.png"], "label": "labelsTr/cell_0.png"}}
    nnunet_pictures(tmp_path / "badly_named", dataset=listed)
    listed = {"x": {"images": ["imagesTr/x_0000.gif"], "label": "labelsTr/cell_0.png"}}
    nnunet_pictures(tmp_path / "gif", dataset=listed)
    (tmp_path / "gif/imagesTr/x_0000.gif").write_bytes(b"GIF89a")
    with pytest.raises(error, match=message) as caught:
        import_dataset(tmp_path / place, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_picture_with_a_volume_for_a_mask_is_a_warning(source, tmp_path):
    listed = {"x": {"images": ["imagesTr/cell_0_0000.png"], "label": "a.nii.gz"}}
    nnunet_pictures(source, dataset=listed)
    write_nifti(source / "a.nii.gz", ids()[..., None])
    report = import_dataset(source, tmp_path / "out")
    assert report.warnings[0].names == ("x (one is a picture, its mask a volume)",)


def test_the_report_as_text_and_as_json(source, tmp_path):
    write_png(source / "labelsTr/cell_4.png", ids(10, 16))
    for number in range(7, 12):
        write_png(source / f"imagesTr/cell_{number}_0000.png", picture())
    report = import_dataset(source, tmp_path / "out")
    assert report.table() == (
        f"{source} (nnunet) into {tmp_path / 'out'}: 6 cases\n"
        "  multiclass: background, class_1, class_2\n"
        "  the source has no splits: they are drawn by a hash of the names when the dataset is opened\n"
        "\n"
        "warnings\n"
        "  masks that don't lie on their images ('segkit check' says more): 1\n"
        "    cell_4 (the mask is 16×10, its picture 16×12)\n"
        "\n"
        "left out\n"
        "  cases of imagesTr without a file in labelsTr: 5\n"
        "    cell_10, cell_11, cell_7, … and 2 more"
    )
    said = json.loads(json.dumps(report.to_json()))
    assert said["left_out"] == [
        {
            "what": "cases of imagesTr without a file in labelsTr",
            "count": 5,
            "names": ["cell_10", "cell_11", "cell_7", "cell_8", "cell_9"],
        }
    ]
    assert (said["kind"], said["cases"], said["splits"], said["linked"]) == ("nnunet", 6, {}, False)


def test_the_layout_is_told_by_what_is_there(source, tmp_path):
    assert kind_of(source) == "nnunet"
    write_json(tmp_path / "a/dataset.json", {"labels": {}, "training": [], "modality": {}})
    assert kind_of(tmp_path / "a") == "decathlon"
    write_json(tmp_path / "b/annotations/x.json", {"images": [], "annotations": [], "categories": []})
    write_json(tmp_path / "b/annotations/captions.json", {"images": [], "annotations": []})
    assert kind_of(tmp_path / "b") == "coco"
