"""NYUv2 as it is usually exported to PNG files, made a dataset folder by links.

    python benchmarks/nyuv2_folder.py EXPORTED FOLDER [--unit mm] [--depth depth]
    segkit check FOLDER
    segkit train nyuv2 --data FOLDER

EXPORTED holds what common repositories make of ``nyu_depth_v2_labeled.mat``, a file of the same stem in each folder:

* ``rgb/``: the pictures, 480 × 640, PNG or JPEG;
* ``depth/``: depth on the pictures' pixels as 16-bit PNG in mm or, where --unit says so, 0.1 mm; 0 is not measured. The
  file has depth twice, as it was measured and with its holes painted in: either will do (--depth names the folder),
  and of the first the network is told where the holes are;
* ``label40/``: 8-bit PNG of the 40 classes of Gupta et al. (CVPR 2013), 1 to 40, and 0 where there is none;
* ``train.txt`` and ``test.txt``: the official split, 795 and 654 stems, a line each (with a folder or suffix, or
  further columns behind, which are left out).

FOLDER gets ``images/`` and ``depth/`` as links into EXPORTED, which so has to stay where it is, ``masks/`` written anew
(0 to 39, and 255 where there is none), and ``dataset.yaml``. The official split has no validation pictures: of each 80
training pictures the last 8 become ``val``, in one piece because neighbours in the list are often of one room. To train
on all 795 for a final figure: ``data.train_on=[train, val] data.validate_on=null train.keep=last``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from segkit.data.depth import stored_values
from segkit.data.depth_format import values_per_metre
from segkit.data.listing import by_stem
from segkit.data.masks import IGNORE, read_values
from segkit.data.reader import PICTURES, read_pixels
from segkit.errors import DataError

CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
    *("blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling"),
    *("books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person"),
    *("night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture", "other prop"),
)
SIZE = (480, 640)
INTRINSICS = {"fx": 518.8579, "fy": 519.4696, "cx": 325.5824, "cy": 253.7362}  # the toolbox's, of the colour camera
BLOCK, BLOCKS = 8, 10  # of ten blocks of eight training pictures one is for validation
ROOM = (0.5, 8.0)  # metres, where the median distance in a room lies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--unit", choices=["mm", "0.1mm"], default="mm", help="of the values in depth/")
    parser.add_argument("--depth", default="depth", help="the folder with depth")
    arguments = parser.parse_args()
    try:
        splits = nyuv2_folder(arguments.exported, arguments.folder, unit=arguments.unit, depth=arguments.depth)
    except DataError as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.folder}:", ", ".join(f"{len(stems)} {name}" for name, stems in splits.items()))


def nyuv2_folder(exported: Path, folder: Path, *, unit: str = "mm", depth: str = "depth") -> dict[str, list[str]]:
    """Make the dataset folder and return its splits.

    Raises:
        DataError: a file of the split isn't there, a mask holds another value than 0 to 40, the two lists have pictures
            in common, or distances in that unit are not those of rooms.
    """
    splits = official(exported)
    found = {
        "images": by_stem(exported / "rgb", PICTURES),
        "depth": by_stem(exported / depth, (".png",)),
        "masks": by_stem(exported / "label40", (".png",)),
    }
    stems = [stem for names in splits.values() for stem in names]
    for kind, files in found.items():
        missing = [stem for stem in stems if stem not in files]
        if missing:
            there = next(iter(files.values()))
            raise DataError(f"{there.parent}: no file {missing[0]!r} for {kind}/, but for example {there.name}")
    check_unit([found["depth"][stem] for stem in stems], unit)
    for kind in found:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for stem in stems:
        for kind in ("images", "depth"):
            link(found[kind][stem], folder / kind)
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), ids_of(found["masks"][stem]))
    said = {
        "name": "nyuv2",
        "task": "multiclass",
        "classes": list(CLASSES),
        "depth_unit": unit,
        # Of cut pictures nobody knows where they were cut; only the encoding ``normals`` asks for it.
        **({"intrinsics": INTRINSICS} if read_pixels(found["images"][stems[0]]).shape[:2] == SIZE else {}),
        "splits": splits,
    }
    (folder / "dataset.yaml").write_text(yaml.safe_dump(said, sort_keys=False, width=110), encoding="utf-8")
    return splits


def official(exported: Path) -> dict[str, list[str]]:
    """Stems of train, val, which is carved from the official training pictures, and test."""
    train, test = (listed(exported / f"{name}.txt") for name in ("train", "test"))
    both = sorted(set(train) & set(test))
    if both:
        raise DataError(f"{exported}: {both[0]} is in train.txt and in test.txt; scores would say nothing")
    val = [stem for i, stem in enumerate(train) if i // BLOCK % BLOCKS == BLOCKS - 1] or train[-1:]  # of few, one
    kept = set(val)
    return {"train": [stem for stem in train if stem not in kept], "val": val, "test": test}


def listed(file: Path) -> list[str]:
    """Stems in a list, a line each."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; it lists the official split's pictures, a stem a line")
    return [Path(line.split()[0]).stem for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def check_unit(files: Sequence[Path], unit: str) -> None:
    """Raise DataError where rooms would be smaller or larger than rooms are: a unit isn't told by the files."""
    values = np.concatenate([stored_values(file)[::4, ::4].ravel() for file in files[:: -(-len(files) // 20)]])
    measured = values[values > 0]
    middle = float(np.median(measured)) / (values_per_metre(unit) or 1) if measured.size else 0.0
    if not ROOM[0] <= middle <= ROOM[1]:
        raise DataError(
            f"{files[0].parent}: half of what is measured is nearer than {middle:.3g} m, if values "
            f"are in {unit}; that is no room: give the right --unit, or export depth as 16-bit values"
        )


def ids_of(file: Path) -> NDArray[np.uint8]:
    """A mask's classes 1 to 40 as ids 0 to 39, and 0 as ignore."""
    values = read_values(file)
    if values.max(initial=0) > len(CLASSES):
        raise DataError(f"{file}: holds {values.max()}; expected the classes 1 to {len(CLASSES)}, and 0 for none")
    return np.where(values == 0, IGNORE, values.astype(np.int64) - 1).astype(np.uint8)


def link(file: Path, into: Path) -> None:
    place = into / file.name
    if place.is_symlink() and place.readlink() != file.resolve():  # left by a run with other files
        place.unlink()
    if not place.is_symlink() and not place.exists():
        place.symlink_to(file.resolve())


if __name__ == "__main__":
    main()
