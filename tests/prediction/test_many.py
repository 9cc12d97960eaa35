import json
import os
import shutil
import sys

import cv2
import numpy as np
import pytest

from segkit.errors import UsageError
from segkit.prediction import line
from segkit.prediction.manifest import file_hash
from segkit.prediction.predictor import Predictor

SIZE = 24


@pytest.fixture
def folder(tmp_path):
    """in/: three pictures of which the second is damaged"""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in "abc":
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "b.png").read_bytes()[:60])
    return tmp_path


def lines(folder):
    found = [json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def run(model, folder, **options):
    """Which pictures were looked at by the model, and which were kept."""
    model.sizes.clear()
    outcomes = Predictor(model, device="cpu").predict_files(folder / "in", folder / "out", **options)
    return len(model.sizes), [outcome.source.stem for outcome in outcomes if outcome.kept]


def test_the_manifest_has_a_line_a_picture(binary, folder):
    run(binary, folder, entropy=True)
    first, second, third = lines(folder)
    assert [first["input"], second["input"], third["input"]] == ["a.png", "b.png", "c.png"]
    assert first["status"] == "ok"
    assert first["error"] is None
    assert first["sha256"] == file_hash(folder / "in" / "a.png")
    assert first["outputs"] == {name: file_hash(folder / "out" / name) for name in ("a_mask.png", "a_entropy.png")}
    assert second["status"] == "error"
    assert second["error"] == f"{folder / 'in' / 'b.png'}: the file is cut short; copy or export it again"
    assert second["outputs"] == {}
    assert first["run"] == second["run"] == third["run"]


def test_resuming_does_what_is_not_done(binary, folder):
    assert run(binary, folder) == (2, [])
    before = lines(folder)
    assert run(binary, folder, resume=True) == (0, ["a", "c"])
    assert lines(folder) == before
    assert run(binary, folder) == (2, [])


def test_a_changed_input_is_done_again(binary, folder):
    run(binary, folder)
    (folder / "in" / "c.png").write_bytes((folder / "in" / "a.png").read_bytes())
    assert run(binary, folder, resume=True) == (1, ["a"])
    assert lines(folder)[2]["sha256"] == lines(folder)[0]["sha256"]


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_an_output_that_is_not_as_it_was_is_written_again(binary, folder, damage):
    run(binary, folder)
    mask = folder / "out" / "c_mask.png"
    whole = mask.read_bytes()
    mask.unlink()
    if damage == "altered":
        mask.write_bytes(whole[:-1] + b"\0")
    assert run(binary, folder, resume=True) == (1, ["a"])
    assert mask.read_bytes() == whole


def test_a_picture_that_failed_is_tried_again(binary, folder):
    run(binary, folder)
    (folder / "in" / "b.png").write_bytes((folder / "in" / "a.png").read_bytes())
    assert run(binary, folder, resume=True) == (1, ["a", "c"])
    assert [line["status"] for line in lines(folder)] == ["ok", "ok", "ok"]


def test_other_settings_and_other_outputs_are_done_again(binary, folder):
    run(binary, folder)
    assert run(binary, folder, resume=True, threshold=0.25) == (2, [])
    assert run(binary, folder, resume=True, threshold=0.25, overlay=True) == (2, [])
    assert run(binary, folder, resume=True, threshold=0.25, overlay=True) == (0, ["a", "c"])


def test_what_a_killed_run_left_half_written_is_removed(binary, folder):
    run(binary, folder)
    (folder / "out" / f".{'0' * 32}.png").write_bytes(b"half")
    (folder / "out" / f".{'1' * 32}").mkdir()
    (folder / "out" / f".{'1' * 32}" / "a_labels.npy").write_bytes(b"half")
    (folder / "out" / ".hidden").write_bytes(b"somebody's")
    run(binary, folder, resume=True)
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        ".hidden",
        "a_mask.png",
        "c_mask.png",
        "manifest.jsonl",
    ]


def test_an_interrupted_run_is_resumed(binary, folder):
    def interrupt(done, total, outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(binary, folder, progress=interrupt)
    assert lines(folder)[0]["input"] == "a.png"
    assert run(binary, folder, resume=True)[1][0] == "a"
    assert [line["input"] for line in lines(folder)] == ["a.png", "b.png", "c.png"]


def test_there_must_be_something_to_resume(binary, folder):
    with pytest.raises(UsageError, match="nothing to resume"):
        run(binary, folder, resume=True)


def test_maps_that_fill_the_memory_are_on_disk_until_they_are_written(binary, folder, monkeypatch):
    places = []
    predict = Predictor.predict

    def watched(self, source, out=None, **options):
        places.append(out)
        return predict(self, source, out, **options)

    monkeypatch.setattr(Predictor, "predict", watched)
    run(binary, folder)
    whole = (folder / "out" / "a_mask.png").read_bytes()
    assert places == [None, None]
    Predictor(binary, device="cpu", limit=SIZE * SIZE * 4).predict_files(folder / "in" / "a.png", folder / "large")
    assert places[2].parent == folder / "large"
    assert sorted(path.name for path in (folder / "large").iterdir()) == ["a_mask.png", "manifest.jsonl"]
    assert (folder / "large" / "a_mask.png").read_bytes() == whole


def test_the_limit_of_the_predictor_holds_for_its_files(binary, folder):
    cv2.imwrite(str(folder / "in" / "d.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
    predictor = Predictor(binary, device="cpu", limit=SIZE * SIZE * 3 - 1)
    outcomes = predictor.predict_files(folder / "in" / "d.png", folder / "out")
    assert "pixels take 0.0 GiB to decode at once, more than the limit of 0.0 GiB" in outcomes[0].error


def test_resuming_a_part_keeps_the_record_of_the_rest(binary, folder):
    run(binary, folder)
    before = lines(folder)
    Predictor(binary, device="cpu").predict_files([folder / "in" / "c.png"], folder / "out", resume=True)
    assert sorted(lines(folder), key=lambda line: line["input"]) == before
    assert run(binary, folder, resume=True) == (0, ["a", "c"])


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names of files are text there")
def test_a_name_that_is_no_text_is_refused_and_the_others_go_on(binary, folder):
    odd = os.fsdecode(os.fsencode(folder / "in") + b"/bad\xff.png")
    shutil.copy(folder / "in" / "a.png", odd)
    for resume in (False, True):
        outcomes = Predictor(binary, device="cpu").predict_files(folder / "in", folder / "out", resume=resume)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        assert errors[-1] == "bad\\xff.png: the name is no text in UTF-8; rename the file"
        assert [line["status"] for line in lines(folder)] == ["ok", "error", "error", "ok"]


def test_a_picture_that_fails_takes_no_file_along_that_was_never_its_output(tmp_path, binary):
    picture = np.zeros((8, 8, 3), np.uint8)
    for name in ("x", "y"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    whole = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(whole[:-20])
    (tmp_path / "x_depth.png").write_bytes(whole)
    sources = [tmp_path / "x.png", tmp_path / "y.png"]
    first, second = Predictor(binary).predict_files(sources, tmp_path)
    assert first.error is not None
    assert second.error is None
    assert (tmp_path / "x_depth.png").read_bytes() == whole


def test_a_preview_that_can_not_be_written_is_that_pictures_error_alone(tmp_path, binary, monkeypatch):
    for name in ("x", "y"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    draw = line.write_preview

    def full(path, prediction):
        if path.name.startswith("x"):
            raise OSError(28, "No space left on device")
        draw(path, prediction)

    monkeypatch.setattr(line, "write_preview", full)
    out = tmp_path / "out"
    first, second = Predictor(binary).predict_files([tmp_path / "x.png", tmp_path / "y.png"], out, report=True)
    assert "can't write its results" in first.error
    assert second.error is None
    assert not list(out.glob("x_*"))
    assert (out / "y_preview.png").is_file()


HALF = f".{'0' * 32}.png"


def test_what_others_are_writing_is_left(binary, folder):
    """In a run's folder below, beside the outputs, and in a folder above which another run has its manifest."""
    (folder / "in" / "first").mkdir()
    shutil.copy(folder / "in" / "a.png", folder / "in" / "first")
    places = [folder / "out" / "first", folder / "out" / "runs", folder / "out" / ".git"]
    for place in places:
        place.mkdir(parents=True)
        (place / HALF).write_bytes(b"half")
    (folder / "out" / HALF).write_bytes(b"half")
    (folder / "out" / "first" / "manifest.jsonl").touch()
    run(binary, folder)
    assert all((place / HALF).is_file() for place in places)
    assert not (folder / "out" / HALF).exists()
    Predictor(binary, device="cpu").predict_files(folder / "in" / "a.png", folder / "out" / "runs")
    assert (folder / "out" / "runs" / HALF).is_file()


def test_half_written_files_of_a_mirrored_folder_and_of_a_class_are_removed(multilabel, folder):
    (folder / "in" / "first").mkdir()
    shutil.copy(folder / "in" / "a.png", folder / "in" / "first")
    run(multilabel, folder)
    places = [folder / "out" / "first", folder / "out" / "first" / "a_mask"]
    for place in places:
        (place / HALF).write_bytes(b"half")
    run(multilabel, folder, resume=True)
    assert not any((place / HALF).exists() for place in places)


def written(folder):
    return sorted(path.name for path in (folder / "out").glob("*_*"))


@pytest.mark.parametrize("resume", [False, True])
def test_nothing_is_left_of_an_earlier_run_that_this_one_does_not_write(binary, folder, resume):
    run(binary, folder, overlay=True, probability=True)
    assert written(folder) == [f"{name}_{kind}.png" for name in "ac" for kind in ("mask", "overlay", "probability")]
    (folder / "in" / "a.png").write_bytes(b"damaged")
    (folder / "out" / "c_probability.png").write_bytes(b"somebody's own by now")
    run(binary, folder, resume=resume)
    assert written(folder) == ["c_mask.png", "c_probability.png"]


def test_a_mask_that_no_run_of_ours_wrote_stays_where_its_picture_fails(binary, folder):
    (folder / "out").mkdir()
    (folder / "out" / "b_mask.png").write_bytes(b"drawn by hand")
    run(binary, folder)
    assert (folder / "out" / "b_mask.png").read_bytes() == b"drawn by hand"


def test_a_report_is_of_all_that_the_manifest_keeps_or_gone(binary, folder):
    def rows():
        return [row["case"] for row in json.loads((folder / "out" / "measures.json").read_text())["rows"]]

    run(binary, folder, report=True)
    everything = rows()
    Predictor(binary).predict_files(folder / "in" / "c.png", folder / "out", report=True, resume=True)
    assert sorted(rows()) == sorted(everything)
    run(binary, folder, report=True, resume=True)
    assert rows() == everything
    run(binary, folder, threshold=0.9)
    assert not {path.name for path in (folder / "out").iterdir()} & {"measures.csv", "measures.json", "index.html"}
    (folder / "out" / "index.html").write_text("somebody's own")
    run(binary, folder)
    assert (folder / "out" / "index.html").read_text() == "somebody's own"


def test_of_what_is_kept_everything_is_left(binary, folder):
    run(binary, folder, overlay=True)
    before = written(folder)
    assert run(binary, folder, overlay=True, resume=True) == (0, ["a", "c"])
    assert written(folder) == before


def test_a_leftover_that_is_another_ones_output_or_an_input_stays(binary, tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), picture)
    predictor = Predictor(binary, device="cpu")
    predictor.predict_files([tmp_path / "x.png"], tmp_path, overlay=True, entropy=True)
    cv2.imwrite(str(tmp_path / "x.jpg"), picture)
    sources = [tmp_path / name for name in ("x.jpg", "x.png", "x_overlay.png")]
    first, second, third = predictor.predict_files(sources, tmp_path)
    assert (first.error, third.error) == (None, None)
    assert "would be an output of" in second.error
    assert all((tmp_path / name).is_file() for name in ("x_mask.png", "x_overlay.png", "x_overlay_mask.png"))
    assert not (tmp_path / "x_entropy.png").exists()


def test_a_manifest_removes_nothing_outside_its_folder(binary, folder):
    run(binary, folder, overlay=True)
    manifest = folder / "out" / "manifest.jsonl"
    (folder / "out" / "a_overlay.png").rename(folder / "a_overlay.png")
    manifest.write_text(manifest.read_text().replace("a_overlay.png", "../a_overlay.png"))
    run(binary, folder, resume=True)
    assert (folder / "a_overlay.png").is_file()


def test_a_name_too_long_for_its_outputs_is_one_pictures_fault(binary, folder):
    (folder / "in" / "a.png").rename(folder / "in" / f"{'a' * 250}.png")
    outcomes = Predictor(binary, device="cpu").predict_files(folder / "in", folder / "out")
    assert [outcome.error is None for outcome in outcomes] == [False, False, True]
    assert "shorter name" in outcomes[0].error


def test_what_a_run_stopped_half_way_was_to_replace_is_gone_in_the_end(binary, folder):
    (folder / "in" / "b.png").unlink()
    run(binary, folder, overlay=True)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(binary, folder, progress=stop)
    run(binary, folder, resume=True)
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a_mask.png", "c_mask.png", "manifest.jsonl"]


def test_a_refused_resume_leaves_no_folder(binary, folder):
    with pytest.raises(UsageError, match="nothing to resume"):
        run(binary, folder, resume=True)
    assert not (folder / "out").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(binary, folder):
    os.mkfifo(folder / "in" / "pipe.png")
    assert run(binary, folder)[0] == 2
    (outcome,) = Predictor(binary, device="cpu").predict_files(folder / "in" / "pipe.png", folder / "out")
    assert outcome.error.endswith("pipe.png: neither a file nor a folder")


def test_names_that_lead_to_nothing_leave_an_earlier_run_as_it_is(binary, folder):
    run(binary, folder, report=True)
    before = {path: path.read_bytes() for path in (folder / "out").iterdir()}
    outcomes = Predictor(binary).predict_files([folder / "typo" / "*.png", folder / "no.png"], folder / "out")
    assert all(outcome.error for outcome in outcomes)
    assert {path: path.read_bytes() for path in (folder / "out").iterdir()} == before
    Predictor(binary).predict_files(folder / "typo", folder / "new")
    assert not (folder / "new").exists()


def test_a_report_overwrites_no_page_of_something_else(binary, folder):
    (folder / "out").mkdir()
    (folder / "out" / "index.html").write_text("mine")
    with pytest.raises(UsageError, match=r"out: its index\.html is something else's, which a report would overwrite"):
        run(binary, folder, report=True)
    assert [path.name for path in (folder / "out").iterdir()] == ["index.html"]
    run(binary, folder)
    assert (folder / "out" / "index.html").read_text() == "mine"


def test_sizes_in_millimetres_are_refused_before_anything_is_computed(binary, folder):
    predictor = Predictor(binary, postprocess={"smallest": "5 mm2"})
    (outcome,) = predictor.predict_files(folder / "in" / "a.png", folder / "out")
    assert outcome.error.startswith(f"{folder / 'in' / 'a.png'}: predict.postprocess.smallest: 5 mm2, but nothing says")
    assert [size for size in binary.sizes if size[-1] == SIZE] == []


def test_results_that_do_not_fit_in_memory_end_no_run(binary, folder, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("segkit.prediction.prediction.Prediction.save", full)
    run(binary, folder)
    assert [line["error"] for line in lines(folder)][::2] == [
        f"{folder / 'in' / name}: can't write its results (MemoryError)" for name in ("a.png", "c.png")
    ]
