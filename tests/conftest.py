"""A small working folder, as a user's would be: a dataset, pictures, a trained model."""

import os
import shutil
import socket
from pathlib import Path

import cv2
import pytest

# Values are compared to the bit in places: the processor computes them where there is a GPU too, unless asked not to.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # processes beside each other: threads of each would wait for others'
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))


@pytest.fixture(scope="session")
def tiny():
    """Changes that make a recipe of two members a matter of seconds; the parts stay what they are."""
    return (
        "ensemble.members.0.backbone={name: swin, embed_dim: 8, depths: [2, 1], heads: [1, 2]}",
        "ensemble.members.0.neck={name: fpn, width: 8}",
        "ensemble.members.1.backbone={name: stem, width: 4}",
        "ensemble.members.1.stem=false",
        "ensemble.members.0.auxiliary=0",
        "ensemble.members.0.train={}",
        "ensemble.members.1.auxiliary=0",
        "train.epochs=1",
        "train.batch=2",
        "train.workers=0",
        "data.crop=32",
    )


@pytest.fixture
def small_demo(tiny, monkeypatch):
    """The demonstration, cut down to seconds."""
    import segkit.demo
    from segkit.recipe_file import load_recipe

    monkeypatch.setattr(segkit.demo, "RECIPE", load_recipe("demo", tiny))
    monkeypatch.setattr(segkit.demo, "IMAGES", 8)
    monkeypatch.setattr(segkit.demo, "SIZE", 64)
    monkeypatch.setattr(segkit.demo, "SHOWN", 1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The working folder; made once, so don't write into it."""
    import torch

    from segkit.artifact import save
    from segkit.data.synthetic import draw_cells
    from segkit.ensemble import Ensemble
    from segkit.model import Segmenter

    folder = tmp_path_factory.mktemp("prepared")
    draw_cells(folder / "cells", images=6, size=64)
    for place in ("images", "slices", "second_reader"):
        (folder / place).mkdir()
    for number, image in enumerate(sorted((folder / "cells" / "images").iterdir())[:2], start=1):
        shutil.copy(image, folder / "images" / f"well_{number:02}.png")
        cv2.imwrite(str(folder / "slices" / f"slice_{number:02}.tif"), cv2.imread(str(image), cv2.IMREAD_GRAYSCALE))
    for mask in (folder / "cells" / "masks").iterdir():
        shutil.copy(mask, folder / "second_reader")

    torch.manual_seed(0)
    members = [
        Segmenter.create(backbone, neck=neck, classes=["background", "cell"])
        for backbone, neck in (
            ({"name": "swin", "embed_dim": 8, "depths": [2, 1], "heads": [1, 2]}, {"name": "fpn", "width": 8}),
            ({"name": "stem", "width": 4}, "unet"),
        )
    ]
    draw_cells(folder / "more_cells", images=20, size=48, splits=(0.2, 0.6, 0.2))
    (folder / "small.yaml").write_text(
        "name: small\nmodel: {backbone: {name: stem, width: 4}, neck: unet}\n"
        "data: {crop: 32}\ntrain: {epochs: 1, batch: 2, workers: 0}\n"
    )
    for name in ("a", "b"):
        first = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["background", "cell"])
        first.about = {"ancestor": "0123456789abcdef", "trained_on": {"dataset": "cells", "splits": "train"}}
        save(first, folder / "runs" / name / "model")
    model = Ensemble(members, names=["swin_fpn", "stem_unet"])
    model.about = {"trained_on": {"recipe": "demo"}, "predict": {"tile": 48, "overlap": 0.25, "threshold": 0.99}}
    save(model, folder / "runs" / "demo" / "model")
    return folder


@pytest.fixture
def workplace(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of the working folder, which is the current directory; speeds aren't measured in it."""
    folder = tmp_path / "workplace"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("segkit.suggestion.suggest.crops_per_second", lambda *_, **__: 20.0)
    return folder


@pytest.fixture
def shared():
    """The folder of real datasets beside the checkout, where there is one."""
    path = Path(__file__).parents[1] / "../shared/data"
    if not path.is_dir():
        pytest.skip("no shared datasets here")
    return path.resolve()


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """Everything works without one: whoever asks for an address beyond this machine fails."""
    connect, asked = socket.socket.connect, []

    def at_home(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            asked.append(address)
            raise OSError(f"a connection to {address} was asked for")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", at_home)
        yield
    assert not asked
