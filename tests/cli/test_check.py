"""What ``segkit check`` prints, writes and answers."""

import json

import cv2
import numpy as np
import pytest

from segkit.cli.main import main


@pytest.fixture
def spoilt(workplace):
    """The working folder's cells with a picture that has no mask, and masks of a lossy format."""
    masks = sorted((workplace / "cells" / "masks").iterdir())
    masks[0].unlink()
    cv2.imwrite(str(masks[1].with_suffix(".jpg")), 255 * cv2.imread(str(masks[1]), 0))
    masks[1].unlink()
    return workplace


def test_a_clean_dataset_is_exit_code_0(workplace, capsys):
    assert main(["check", "cells"]) == 0
    assert capsys.readouterr().out.startswith("cells: nothing wrong\n  6 pictures (train 4, val 1, test 1), 64×64")


def test_warnings_alone_are_exit_code_0(workplace, capsys):
    image = next((workplace / "cells" / "images").iterdir())
    cv2.imwrite(str(image), 0 * cv2.imread(str(image)))
    assert main(["check", "cells"]) == 0
    assert "warnings\n  pictures of a single value: 1" in capsys.readouterr().out


def test_errors_are_exit_code_3_and_the_json_is_pure(spoilt, capsys):
    assert main(["check", "cells", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in told["findings"]] == ["no_mask", "lossy"]


def test_without_a_terminal_nothing_is_guessed_unless_told(spoilt, capsys):
    assert main(["check", "cells", "--fix", "mended"]) == 3
    out = capsys.readouterr().out
    assert "\nmended\n  names without a picture, a mask or a region of interest leave the splits: 1\n" in out
    assert "\nleft alone (--yes mends these too)\n  values between classes become the nearest class: 1\n" in out
    assert "masks saved with lossy compression: 1" in out.split("\nmended: ")[1]  # the copy, checked again

    assert main(["check", "cells", "--fix", "guessed", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in told["mended"]] == ["drop", "nearest"]
    assert (told["left"], told["errors"], told["copy"]["errors"]) == ([], 2, 0)


def test_there_is_nothing_to_agree_to_without_a_copy(spoilt, capsys):
    assert main(["check", "cells", "--yes"]) == 2
    assert capsys.readouterr().err == "error: --yes is about mending; name a copy by --fix\n"


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3)])
def test_a_terminal_is_asked(spoilt, capsys, monkeypatch, answer, code):
    import typer

    from segkit.cli import check

    asked = []
    monkeypatch.setattr(check.sys, "stdin", type("Terminal", (), {"isatty": staticmethod(lambda: True)}))
    monkeypatch.setattr(typer, "confirm", lambda text, **_: asked.append(text) or answer == "y\n")
    assert main(["check", "cells", "--fix", "mended"]) == code
    [question] = asked
    assert "values between classes become the nearest class (1: cells_" in question
    assert question.endswith("). Borders are guessed. Do it?")


def test_a_target_in_use_is_exit_code_2_and_a_missing_dataset_3(workplace, capsys):
    assert main(["check", "cells", "--fix", "images"]) == 2
    assert capsys.readouterr().err == "error: images: is there already; a copy needs a new or empty folder\n"
    assert main(["check", "nowhere"]) == 3
    assert capsys.readouterr().err == "error: nowhere: no such folder\n"


def test_pictures_that_are_left_out_are_named(workplace, capsys):
    masks = sorted((workplace / "cells" / "masks").iterdir())
    for mask in masks:
        ids = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(mask), np.array([[0, 0, 0], [255, 0, 0]], np.uint8)[(ids > 0).astype(int)])
    strange = cv2.imread(str(masks[0]), cv2.IMREAD_COLOR)
    strange[0, :3] = (0, 9, 0)
    cv2.imwrite(str(masks[0]), strange)
    described = workplace / "cells" / "dataset.yaml"
    described.write_text(described.read_text() + 'palette: {background: "#000000", cell: "#0000ff"}\n')
    main(["check", "cells", "--fix", "mended"])
    what = "pictures are left out whose masks have colours that are not in the palette"
    assert f"  {what}: 1 ({masks[0].stem})\n" in capsys.readouterr().out


def test_what_was_found_is_printed_though_nothing_can_be_mended(workplace, capsys):
    described = workplace / "cells" / "dataset.yaml"
    text = "".join(line for line in described.read_text().splitlines(True) if not line.startswith(("classes", "back")))
    described.write_text(text)
    for mask in (workplace / "cells" / "masks").iterdir():
        ids = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(mask), np.where(ids > 0, 90, 0).astype(np.uint8))
    assert main(["check", "cells", "--fix", "mended", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["error"].startswith("cells: what the masks' values mean isn't known")
    assert any(each["kind"] == "description" for each in found["findings"])
