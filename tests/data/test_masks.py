"""Masks as files."""

import cv2
import numpy as np
import pytest

from segkit.data.masks import read_values
from segkit.errors import DataError


def test_chunks_longer_than_the_file_are_refused_before_memory_is_taken(tmp_path):
    file = tmp_path / "mask.png"
    cv2.imwrite(str(file), np.zeros((32, 32), np.uint8))
    data = bytearray(file.read_bytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = (2_130_706_590).to_bytes(4, "big")
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"cut short: \d+ bytes of at least 2,130,706,\d+; copy it again"):
        read_values(file)
