import os

import pytest

from segkit.errors import UsageError
from segkit.prediction.manifest import Entry
from segkit.prediction.sources import Source, expand, without_collisions


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """a/x.png, a/y.jpg, a/notes.txt, a/.hidden.png, a/b/x.png, c/x.png"""
    for name in ("a/x.png", "a/y.jpg", "a/notes.txt", "a/.hidden.png", "a/b/x.png", "c/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(sources, out="out"):
    return [(s.path.as_posix(), s.folder.as_posix()) for s in expand(sources, out)]


def test_a_file_goes_to_the_output_folder_itself(tree):
    assert found("a/x.png") == [("a/x.png", "out")]
    assert found(["a/x.png", "a/y.jpg"]) == [("a/x.png", "out"), ("a/y.jpg", "out")]


def test_a_folder_gives_its_pictures_and_its_subfolders_are_mirrored(tree):
    assert found("a") == [("a/b/x.png", "out/b"), ("a/x.png", "out"), ("a/y.jpg", "out")]


def test_equal_names_of_different_folders_stay_apart(tree):
    assert found(["a/x.png", "c/x.png"]) == [("a/x.png", "out/a"), ("c/x.png", "out/c")]
    assert found(["c", "a/b"]) == [("c/x.png", "out/c"), ("a/b/x.png", "out/a/b")]


def test_patterns(tree):
    assert found("a/*.png") == [("a/x.png", "out")]
    assert found("*/x.png") == [("a/x.png", "out/a"), ("c/x.png", "out/c")]
    assert found("a/**/x.png") == [("a/b/x.png", "out/b"), ("a/x.png", "out")]
    assert found(str(tree / "c" / "*.png")) == [((tree / "c" / "x.png").as_posix(), "out")]


def test_a_pattern_means_the_same_when_a_folder_comes_to_those_it_matches(tree):
    assert found("c/**/x.png") == found("c/*.png") == [("c/x.png", "out")]
    assert found("a/*/x.png") == [("a/b/x.png", "out/b")]


def test_brackets_in_a_folder_s_name_stand_for_themselves(tree):
    (tree / "data [v2]").mkdir()
    (tree / "data [v2]" / "x.png").touch()
    assert found("data [v2]/*.png") == [("data [v2]/x.png", "out")]
    assert found("[ac]/x.png") == [("a/x.png", "out/a"), ("c/x.png", "out/c")]


def test_results_of_another_run_below_are_no_inputs(tree):
    (tree / "a" / "b" / "manifest.jsonl").write_text('{"input": "somebody else\'s"}\n')
    assert ("a/b/x.png", "out/b") in found("a")
    entry = Entry(input="x", sha256=None, status="ok", outputs={}, error=None, seconds=1, run="r")
    (tree / "a" / "b" / "manifest.jsonl").write_text(entry.model_dump_json() + "\n")
    assert found("a") == [("a/x.png", "out"), ("a/y.jpg", "out")]
    assert found("a/b") == [("a/b/x.png", "out")]  # named itself


def test_inputs_have_a_place_below_the_folder_that_holds_them_all(tree):
    assert [s.place for s in expand(["a", "c/x.png", "a/z*.png"], "out")] == [
        "a/b/x.png",
        "a/x.png",
        "a/y.jpg",
        "c/x.png",
        "a/z*.png",
    ]


def test_an_image_named_twice_is_predicted_once(tree):
    assert found(["a/x.png", "a/../a/x.png", str(tree / "a" / "x.png"), "a/*.png"]) == [("a/x.png", "out")]


def test_outputs_of_an_earlier_run_are_no_inputs(tree):
    (tree / "a" / "out").mkdir()
    (tree / "a" / "out" / "x_mask.png").touch()
    assert found("a", "a/out") == [("a/b/x.png", "a/out/b"), ("a/x.png", "a/out"), ("a/y.jpg", "a/out")]
    assert found("a/**/*.png", "a/out") == [("a/b/x.png", "a/out/b"), ("a/x.png", "a/out")]


def test_an_output_folder_that_holds_the_inputs_hides_none(tree):
    assert found("c", ".") == [("c/x.png", ".")]
    assert found("c/*.png", ".") == [("c/x.png", ".")]


def test_a_name_that_leads_to_no_image_says_so(tree):
    (tree / "empty").mkdir()
    errors = {s.path.name: s.error for s in expand(["empty", "z*.png", "c"], "out")}
    assert errors["empty"].startswith("empty: no pictures in it (.png, .jpg,")
    assert errors["z*.png"] == "z*.png: no picture matches"
    assert errors["x.png"] is None


def test_masks_among_the_images_are_refused(tree):
    with pytest.raises(UsageError, match="a: masks would lie among the images; choose another output folder"):
        expand("a", tree / "c" / ".." / "a")


def test_two_inputs_of_one_output_are_one_too_many(tree):
    sources = [Source(tree / "a" / name, tree / "out", name) for name in ("x.png", "x.jpg", "y.jpg")]
    checked = without_collisions(sources, lambda s: [s.folder / f"{s.path.stem}_mask.png"])
    assert [s.error is None for s in checked] == [True, False, True]
    assert checked[1].error.endswith(
        f"x_mask.png would be an output of {tree / 'a' / 'x.png'}, too; rename one of the two"
    )


def test_an_output_that_is_an_input_is_refused(tree):
    (tree / "a" / "x_mask.png").touch()
    sources = expand(["a/x.png", "a/x_mask.png"], "a")
    checked = without_collisions(sources, lambda s: [s.folder / f"{s.path.stem}_mask.png"])
    assert checked[0].error == "a/x.png: a/x_mask.png is one of the images to predict; choose another output folder"
    assert checked[1].error is None


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_an_input_is_that_input(tree):
    (tree / "out").mkdir()
    (tree / "out" / "x_mask.png").symlink_to(tree / "c" / "x.png")
    checked = without_collisions(expand(["c/x.png"], "out"), lambda s: [s.folder / f"{s.path.stem}_mask.png"])
    assert "is one of the images to predict" in checked[0].error


def test_a_link_to_nothing_is_among_the_pictures(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in" / "good.png").write_bytes(b"")
    assert [source.place for source in expand(tmp_path / "in", tmp_path / "out")] == ["good.png", "lost.png"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_pictures_behind_a_linked_folder_are_there(tree):
    (tree / "a" / "linked").symlink_to(tree / "c")
    assert found("a")[-1] == ("a/y.jpg", "out")
    assert found("a")[1] == ("a/linked/x.png", "out/linked")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_folder_is_gone_through_once_by_its_own_name(tree):
    (tree / "a" / "b" / "round").symlink_to(tree / "a")
    (tree / "a" / "a_link").symlink_to(tree / "a" / "b")
    assert found("a") == [("a/b/x.png", "out/b"), ("a/x.png", "out"), ("a/y.jpg", "out")]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_outputs_behind_a_linked_folder_are_no_inputs(tree):
    (tree / "out").mkdir()
    (tree / "out" / "x_mask.png").touch()
    (tree / "c" / "all").symlink_to(tree)
    assert [name for name, _ in found("c")] == ["c/all/a/b/x.png", "c/all/a/x.png", "c/all/a/y.jpg", "c/x.png"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [("", "''"), (["c", ""], "''"), (5, "int"), ([None], "NoneType"), (b"c/x.png", r"b'c/x\.png'"), (["im\0x"], "'im")],
)
def test_what_is_no_name_is_refused(tree, sources, said):
    with pytest.raises(UsageError, match=f"^sources: got {said}.*; expected the name of a file or folder$"):
        expand(sources, "out")


@pytest.mark.parametrize(("system", "refused"), [("linux", 0), ("darwin", 1), ("win32", 1)])
def test_outputs_that_differ_in_capitals_alone_are_one_on_some_systems(system, refused, tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.prediction.sources.sys.platform", system)
    sources = [Source(tmp_path / name, tmp_path / "out", name) for name in ("X.png", "x.jpg")]
    checked = without_collisions(sources, lambda source: [source.folder / f"{source.name}.png"])
    assert [source.error for source in checked].count(None) == 2 - refused
