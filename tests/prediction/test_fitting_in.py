"""What doesn't fit is one line that says what to do."""

import numpy as np
import pytest
import torch

from segkit.backbones.backbone import ImageTooLargeError
from segkit.errors import UsageError
from segkit.prediction.fitting_in import fitting_in


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "a.png: out of GPU memory; take less"),
        (MemoryError(), "a.png: out of memory; take less"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
            "a.png: out of memory; take less",
        ),
        (ImageTooLargeError("'timm:x' takes images\nup to 32×32"), "a.png: 'timm:x' takes images up to 32×32"),
    ],
)
def test_it_names_the_image_and_what_to_do(error, said):
    with pytest.raises(UsageError) as caught, fitting_in("a.png", lambda: "; take less"):
        raise error
    assert str(caught.value) == said


def test_a_real_array_that_is_too_large_is_among_them():
    with pytest.raises(UsageError, match="out of memory"), fitting_in("a.png", str):
        np.empty(1 << 62, np.uint8)
    with pytest.raises(UsageError, match="out of memory"), fitting_in("a.png", str):
        torch.empty(1 << 60)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="else"), fitting_in("a.png", str):
        raise RuntimeError("something else")
    with pytest.raises(ValueError, match="else"), fitting_in("a.png", str):
        raise ValueError("something else")
