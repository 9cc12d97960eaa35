"""The page on importing: its commands and its code, in order."""

from importing.layouts import nnunet_pictures, picture, write_json, write_png
from page_blocks import Page

import segkit


def test_the_page_from_its_first_line_to_its_last(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    nnunet_pictures(tmp_path / "Dataset004_Cells")
    for number in range(3):
        write_png(tmp_path / f"pets/{number}.png", picture(seed=number))
    said = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(3)],
        "annotations": [{"image_id": 0, "category_id": 1, "segmentation": [[0, 0, 5, 0, 5, 5]]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    write_json(tmp_path / "pets/train.json", said)
    Page("importing.md").follow(capsys)
    assert capsys.readouterr().out.startswith("Dataset004_Cells (nnunet) into cells: 6 cases\n")
    assert segkit.open_dataset("cells").classes == ("background", "class_1", "class_2")
    assert segkit.open_dataset("pets_to_train").task == "multilabel"
