"""What ``segkit import`` prints, and its exit codes."""

import json

import pytest
from importing.layouts import nnunet_pictures, write_json

from segkit.cli.main import main


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return nnunet_pictures(tmp_path / "Dataset004_Cells")


def test_it_prints_what_was_taken(source, capsys):
    assert main(["import", "Dataset004_Cells", "-o", "cells"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "Dataset004_Cells (nnunet) into cells: 6 cases\n"
        "  multiclass: background, class_1, class_2\n"
        "  the source has no splits: they are drawn by a hash of the names when the dataset is opened\n"
    )
    assert err == ""
    assert main(["check", "cells"]) == 0


def test_it_prints_pure_json(source, capsys):
    (source / "labelsTr/cell_2.png").unlink()
    assert main(["import", "Dataset004_Cells", "-o", "cells", "--from", "nnunet", "--link", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["out"], said["cases"], said["linked"]) == ("nnunet", "cells", 5, True)
    assert said["left_out"][0]["names"] == ["cell_2"]


def test_bad_data_is_exit_code_3_and_wrong_use_2(source, capsys):
    (source / "imagesTr/cell_2_0000.png").unlink()
    assert main(["import", "Dataset004_Cells", "-o", "cells"]) == 3
    assert capsys.readouterr() == (
        "",
        "error: Dataset004_Cells/imagesTr/cell_2_0000.png: no such file; 1 of 6 cases lack files: get them, or leave "
        "these out with --partial (in Python partial=True)\n",
    )
    assert main(["import", "Dataset004_Cells", "-o", "cells", "--partial"]) == 0
    assert main(["import", "Dataset004_Cells", "-o", "cells"]) == 2
    assert main(["import", "Dataset004_Cells", "-o", "more", "--from", "voc2"]) == 2
    assert main(["import", "Dataset004_Cells", "-o", "more", "--multilabel"]) == 2
    assert main(["import", "Dataset004_Cells"]) == 2
    write_json(source / "dataset.json", {})
    assert main(["import", "Dataset004_Cells", "-o", "more"]) == 3


def test_importing_a_dataset_of_pictures_takes_no_medical_libraries(source, tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; from segkit.importing.run import import_dataset; import_dataset('Dataset004_Cells', 'out'); "
        "sys.exit(str([m for m in ('nibabel', 'SimpleITK', 'pydicom', 'torch') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.strip() == "[]"
