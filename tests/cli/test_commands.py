"""What the commands print and write."""

import json
import re
import subprocess
import sys

import cv2
import pytest
import yaml

import segkit
from segkit import necks
from segkit.cli.main import main
from segkit.recipe_file import load_recipe


def test_predict_goes_on_after_a_bad_picture_and_ends_with_3(workplace, capsys):
    (workplace / "images" / "broken.png").write_bytes(b"not a picture")
    assert main(["predict", "runs/demo/model", "images", "-o", "masks"]) == 3
    out, err = capsys.readouterr()
    assert err.startswith("error: images/broken.png: ")
    assert out.startswith("2 of 3 pictures predicted into masks in ")
    left = ["manifest.jsonl", "well_01_mask.png", "well_02_mask.png"]
    assert sorted(p.name for p in (workplace / "masks").iterdir()) == left


def test_predict_prints_pure_json(workplace, capsys):
    (workplace / "images" / "broken.png").write_bytes(b"not a picture")
    assert main(["predict", "runs/demo/model", "images", "-o", "masks", "--entropy", "--json"]) == 3
    broken, first, second = json.loads(capsys.readouterr().out)
    assert broken["input"] == "images/broken.png"
    assert broken["outputs"] == []
    assert "broken.png" in broken["error"]
    assert first["outputs"] == ["masks/well_01_mask.png", "masks/well_01_entropy.png"]
    assert second["error"] is None


@pytest.mark.parametrize("command", ["predict runs/demo/model images", "evaluate runs/demo/model cells"])
def test_a_file_in_the_place_of_the_output_folder_is_exit_code_2(command, workplace, capsys):
    (workplace / "taken").touch()
    assert main([*command.split(), "-o", "taken"]) == 2
    expected = "error: taken: can't write there (File exists); choose another output folder\n"
    assert capsys.readouterr() == ("", expected)


def test_evaluate_prints_the_table_before_it_saves_it(workplace, capsys):
    (workplace / "report" / "metrics.json").mkdir(parents=True)
    assert main(["evaluate", "runs/demo/model", "cells", "-o", "report"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("demo on cells, split test: ")
    assert "metrics.json" in err


@pytest.mark.parametrize("command", ["predict runs/demo images -o masks", "evaluate runs/demo cells"])
def test_of_a_run_it_is_said_where_its_model_is(command, workplace, capsys):
    assert main(command.split()) == 3
    assert "is a run; its model is runs/demo/model\n" in capsys.readouterr().err


def test_predict_of_nothing_is_bad_data(workplace, capsys):
    assert main(["predict", "runs/demo/model", "nothing/*.png", "-o", "masks"]) == 3
    assert capsys.readouterr().err == "error: nothing/*.png: no picture matches\n"


def test_predict_resumes(workplace, capsys):
    command = ["predict", "runs/demo/model", "images", "-o", "masks"]
    assert main([*command, "--resume"]) == 2
    expected = "error: nothing to resume: there is no masks/manifest.jsonl; leave --resume out to begin\n"
    assert capsys.readouterr() == ("", expected)
    assert main(command) == 0
    (workplace / "masks" / "well_02_mask.png").unlink()
    capsys.readouterr()
    assert main([*command, "--resume", "--json"]) == 0
    assert [row["kept"] for row in json.loads(capsys.readouterr().out)] == [True, False]
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out.endswith(" s, 2 of them by an earlier run\n")


def test_predict_takes_a_limit_in_gib(workplace, capsys):
    assert main(["predict", "runs/demo/model", "images/well_01.png", "-o", "masks", "--limit", "0.00001"]) == 3
    assert "64 × 64 pixels take 0.0 GiB to decode at once, more than the limit of 0.0 GiB" in capsys.readouterr().err


@pytest.fixture
def clip(workplace):
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (64, 48))
    for _ in range(3):
        writer.write(cv2.resize(cv2.imread("images/well_01.png"), (64, 48)))
    writer.release()
    return workplace / "clip.mp4"


def test_predict_of_a_video_writes_its_overlay(clip, capsys):
    assert main(["predict", "runs/demo/model", "clip.mp4", "-o", "out.mp4"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"3 frames of 64 × 48 into out\.mp4: \d+\.\d a second, latency p50 \d+ ms, p99 \d+ ms\n", out)
    assert err == ""
    assert clip.with_name("out.mp4").stat().st_size > 0
    assert main(["predict", "runs/demo/model", "clip.mp4", "-o", "out.avi", "--threshold", "0.1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["height"], report["width"], report["rate"]) == (3, 48, 64, 25)
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert report["frames_per_second"] > 0


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("clip.mp4 images -o out.mp4", 2, "a video is predicted by itself; leave the other inputs out"),
        ("clip.mp4 -o out.mp4 --resume", 2, "of a video only the overlay is written; leave the options for pictures"),
        ("clip.mp4 -o out.mp4 --entropy", 2, "of a video only the overlay is written; leave the options for pictures"),
        ("clip.mp4 -o masks", 2, "masks: expected a video's name, ending in one of .mp4, .m4v, .mov, .mkv, .avi"),
        ("images -o out.mp4", 2, "out.mp4: pictures have their results in a folder; name one"),
        ("broken.mp4 -o out.mp4", 3, "broken.mp4: can't be opened as a video; copy it again, or convert it to MP4"),
    ],
)
def test_predict_of_a_video_says_what_is_wrong(command, code, message, clip, capsys):
    clip.with_name("broken.mp4").write_bytes(b"not a video")
    assert main(["predict", "runs/demo/model", *command.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert not clip.with_name("out.mp4").exists()


def test_predict_uses_the_threshold_kept_with_the_model_unless_told(workplace):
    def share_of_cells(*options):
        assert main(["predict", "runs/demo/model", "images/well_01.png", "-o", "masks", *options]) == 0
        return cv2.imread("masks/well_01_mask.png", cv2.IMREAD_GRAYSCALE).astype(bool).mean()

    kept = share_of_cells()
    assert share_of_cells("--threshold", "0.99") == kept == 0
    assert share_of_cells("--threshold", "0.01") == 1


def test_evaluate_prints_the_table_and_writes_the_report(workplace, capsys):
    assert main(["evaluate", "runs/demo/model", "cells", "--split", "val", "-o", "report", "--precision", "fp32"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("demo on cells, split val: 1 image, whole images, 4,096 pixels counted\n")
    assert "tiles of 48 overlapping by 25%, threshold 0.99, fp32" in out
    assert out == (workplace / "report" / "table.txt").read_text()
    assert (workplace / "report" / "per_image.csv").is_file()


def test_evaluate_prints_pure_json_with_every_member(workplace, capsys):
    assert (
        main(["evaluate", "runs/demo/model", "cells", "--json", "--tile", "0", "--tta", "flip", "--precision", "fp32"])
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["settings"] == {"tile": None, "overlap": 0.25, "tta": "flip", "precision": "fp32"}
    assert list(report["members"]) == ["swin_fpn", "stem_unet"]


def test_evaluate_scores_masks_that_exist_already(workplace, capsys):
    assert main(["evaluate", "second_reader", "cells", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pooled"]["per_class"]["cell"]["dice"] == 1


def test_train_prints_pure_json(workplace, tiny, capfd):
    assert main(["train", "demo", *tiny, "--data", "cells", "--out", "trained", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["directory"] == "trained/demo"
    assert (workplace / result["model"] / "segkit.json").is_file()
    assert result["metrics"]["split"] == "val"


@pytest.mark.parametrize(
    ("option", "name", "splits"), [("--folds", "fold", "train, val"), ("--seeds", "seed", "train")]
)
def test_one_recipe_is_trained_several_times(option, name, splits, workplace, capfd):
    small = {"backbone": {"name": "stem", "width": 4}, "neck": "unet"}
    recipe = {"name": "one", "data": {"crop": 32}, "model": small, "train": {"epochs": 1, "batch": 2, "workers": 0}}
    (workplace / "one.yaml").write_text(yaml.safe_dump(recipe))
    command = ["train", "one.yaml", "--data", "cells", "--out", "several", "--json", option]
    assert main([*command, "2"]) == 0
    model = segkit.load(workplace / json.loads(capfd.readouterr().out)["model"])
    assert list(model.names) == [f"one-{name}1", f"one-{name}2"]
    assert model.about["trained_on"]["splits"] == splits
    assert main([*command, "0"]) == 2
    assert option.strip("-") in capfd.readouterr().err


def test_models_lists_the_parts_with_their_sizes(capsys):
    assert main(["models", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    sizes = {part["name"]: part["parameters"] for part in listing["backbones"]}
    # torchvision's models without their classifiers
    assert sizes["resnet18"] == 11_176_512
    assert sizes["swin_tiny"] == 27_517_818
    assert {part["name"] for part in listing["necks"]} == set(necks.names())
    assert "demo" in listing["recipes"]


def test_models_as_a_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "11,176,512" in out
    assert "recipes\n  demo\n" in out


def test_config_show_prints_the_resolved_recipe(capsys):
    assert main(["config", "show", "demo", "train.epochs=7"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["train"]["epochs"] == 7
    assert shown == load_recipe("demo", ["train.epochs=7"]).model_dump(mode="json")


def test_config_schema_is_a_json_schema(capsys):
    assert main(["config", "schema"]) == 0
    assert set(json.loads(capsys.readouterr().out)["required"]) == {"name"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("-1", "error: tile=-1: expected the side of a tile in pixels, or None (on the command line 0) for the whole "),
        ("a", "error: Invalid value for '--tile': "),
        ("15", "error: Invalid value for '--tile': 15; expected 16 or more, or 0 for each picture in one piece. See "),
    ],
)
def test_a_wrong_option_is_exit_code_2(value, says, workplace, capsys):
    assert main(["evaluate", "runs/demo/model", "cells", "--tile", value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(says)
    assert len(err.splitlines()) == 1


def test_evaluate_leaves_a_page_and_a_picture_of_each_image_s_errors(workplace):
    assert main(["evaluate", "runs/demo/model", "cells", "-o", "report"]) == 0
    assert "<h2>Calibration</h2>" in (workplace / "report" / "index.html").read_text(encoding="utf-8")
    assert len(list((workplace / "report" / "errors").iterdir())) == 1


def test_of_a_wrong_model_and_a_wrong_dataset_the_model_is_told_first(workplace, capsys):
    assert main(["evaluate", "runs/typo", "images"]) == 3
    assert capsys.readouterr().err.startswith("error: runs/typo: no model there")
    assert main(["evaluate", "runs/demo", "images"]) == 3
    assert capsys.readouterr().err.startswith("error: runs/demo: this is a run; its model is runs/demo/model")


def test_evaluate_overwrites_no_page_but_a_reports_and_writes_nothing_among_pictures(workplace, capsys):
    other = workplace / "mine" / "index.html"
    other.parent.mkdir()
    other.write_text("mine")
    for out, says in (
        ("mine", "its index.html is something else's, which a report would overwrite"),
        ("cells", "the dataset's own folder, which is no place for a report"),
        ("cells/masks/report", "the dataset's own folder, which is no place for a report"),
        ("runs/demo/model", "a model, whose files a report would overwrite"),
    ):
        assert main(["evaluate", "runs/demo/model", "cells", "-o", out]) == 2
        assert capsys.readouterr().err == f"error: {out}: {says}; choose another folder (-o report)\n"
    assert other.read_text() == "mine"
    assert not (workplace / "cells" / "errors").exists()
    assert main(["evaluate", "runs/demo/model", "cells", "-o", "cells/report"]) == 0
    assert (
        main(["evaluate", "runs/demo/model", "second_reader", "cells", "--split", "train", "-o", "cells/report"]) == 0
    )


def test_a_report_that_fails_leaves_no_folder_of_its_own(workplace, capsys):
    masks = sorted((workplace / "second_reader").iterdir())
    masks[-1].write_bytes(masks[-1].read_bytes()[:40])
    command = ["evaluate", "second_reader", "cells", "--split", "train+val+test", "-o"]
    (workplace / "there").mkdir()
    for out in ("new", "there"):
        assert main([*command, out]) == 3
        assert masks[-1].name in capsys.readouterr().err
    assert not (workplace / "new").exists()
    assert (workplace / "there").is_dir()


def test_evaluate_chooses_the_threshold_on_another_split(workplace, capsys):
    assert main(["evaluate", "runs/demo/model", "cells", "--threshold-from", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen_threshold"]["split"] == "val"
    assert main(["evaluate", "runs/demo/model", "cells", "--threshold-from", "test"]) == 2
    assert "'test', the split that is scored" in capsys.readouterr().err


def test_evaluate_keeps_notes_out_of_the_json(workplace, capsys):
    description = json.loads((workplace / "runs" / "demo" / "model" / "segkit.json").read_text())
    description["about"]["trained_on"] |= {"dataset": "cells", "splits": "test"}
    (workplace / "runs" / "demo" / "model" / "segkit.json").write_text(json.dumps(description))
    assert main(["evaluate", "runs/demo/model", "cells", "--json"]) == 0
    out, err = capsys.readouterr()
    (note,) = json.loads(out)["notes"]
    assert err == f"note: {note}\n"


def test_evaluate_compares_several_models(workplace, capsys):
    assert main(["evaluate", "runs/demo/model", "second_reader", "cells", "--split", "train", "-o", "both"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("comparison on cells, split train: ")
    assert out == (workplace / "both" / "table.txt").read_text()
    assert (workplace / "both" / "model_1" / "errors").is_dir()
    assert (workplace / "both" / "model_2" / "index.html").is_file()
    assert main(["evaluate", "runs/demo/model", "second_reader", "cells", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["pairs"]) == ["second_reader"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate runs/demo/model", "Missing argument"),
        ("evaluate second_reader runs/demo/model", "runs/demo/model: a model in the place of the dataset"),
        ("evaluate runs/demo/model second_reader", "second_reader/images: no such folder; a dataset has images/"),
        ("evaluate runs/demo/model second_reader cells --threshold-from val", "--threshold-from takes one model"),
    ],
)
def test_evaluate_says_what_is_missing(command, message, workplace, capsys):
    assert main(command.split()) in (2, 3)
    assert message in capsys.readouterr().err


def test_it_runs_as_a_module_too():
    found = subprocess.run([sys.executable, "-m", "segkit", "--version"], capture_output=True, text=True, check=True)
    assert segkit.__version__ in found.stdout


def test_a_model_is_exported_from_inside_its_folder(workplace, monkeypatch):
    asked = []
    monkeypatch.chdir("runs/demo/model")
    monkeypatch.setattr("segkit.exporting.run.export", lambda _, path, *__, **___: asked.append(path) or 1 / 0)
    assert main(["export", "."]) == 1
    assert asked == [workplace / "runs" / "demo" / "model.onnx"]


def test_images_to_choose_ranges_by_are_of_int8(capsys):
    assert main(["export", "model", "--images", "4"]) == 2
    assert capsys.readouterr().err.startswith("error: --images is for --int8")
