"""Pascal VOC's folders: pictures, masks in a palette's colours, and lists of the pictures of each split."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segkit.data.description import Colour
from segkit.data.listing import by_stem, list_folder
from segkit.data.masks import IGNORE, LOSSLESS, read_colours, read_stored
from segkit.data.reader import PICTURES
from segkit.data.suffixes import stem_of, suffix_of
from segkit.errors import DataError
from segkit.importing.json_file import inside
from segkit.importing.labels import BACKGROUND, LabelFile, Labels
from segkit.importing.layout import Case, Group, Layout, Mask, Placed, Put

IMAGES, MASKS, LISTS, LABELMAP = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "labelmap.txt"
CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "  # noqa: SIM905 - twenty words
    "pottedplant sheep sofa train tvmonitor".split()
)
VOID = (224, 224, 192)  # the colour of what is to be ignored
VOIDS = ("ignore", "ignored", "void")
SPLITS = ("train", "val", "test")
LINE = re.compile(r"(?P<name>.+?):(?P<rgb>\d+,\d+,\d+)(:.*)?")


@dataclass(frozen=True)
class ColourFile:
    """A mask whose colours are classes, as RGB or in an indexed palette."""

    path: Path
    palette: Mapping[str, Colour]
    classes: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def place(self, folder: Path, name: str, put: Put) -> Placed:
        """Copy it.

        Raises:
            DataError: it can't be read, or has colours that are no class.
        """
        height, width = read_colours(self.path, self.palette, self.classes).shape
        put(self.path, folder / f"{name}{suffix_of(self.path)}")
        return Placed(((height, width),))


def read_voc(source: Path) -> Layout:
    """What is in a folder of VOC: the pictures that have masks.

    The classes are those of ``labelmap.txt`` (as CVAT writes it), each with its colour; without one VOC's own 21, by
    the masks' indices, or by VOC's colours where the masks are RGB.

    Raises:
        DataError: a folder is missing, a list or the labels can't be read.
    """
    masks = by_stem(source / MASKS, LOSSLESS)
    images = list_folder(source / IMAGES, PICTURES)
    for twice in images.twice:
        raise DataError(f"{twice}: {images.found[stem_of(twice)].name} has the same name; keep one of them")
    labelmap, first = source / LABELMAP, next(iter(masks.values()))
    palette: dict[str, Colour] | None = None
    if labelmap.is_file():
        palette = _read_labelmap(labelmap)
        note = f"classes and their colours are those of {LABELMAP}"
    elif not _indexed(first) and read_stored(first).shape[2] > 1:
        palette = {**{name: _colour(number) for number, name in enumerate(CLASSES)}, "ignore": VOID}
        note = f"there is no {LABELMAP}: colours are those of VOC's 21 classes"
    else:
        note = f"there is no {LABELMAP}: values are VOC's 21 classes, 255 is ignored"
    classes = tuple(name for name in palette if name != "ignore") if palette else CLASSES
    ids = tuple(frozenset([number]) for number in range(len(classes)))
    labels = Labels(classes, ids, ignore=IGNORE, known_by=f"classes without a {LABELMAP}")

    def mask(path: Path) -> Mask:
        return LabelFile(path, labels) if palette is None else ColourFile(path, palette, classes)

    splits = _read_lists(source)
    wanted = dict.fromkeys([*masks, *(name for split in ("train", "val") for name in splits.get(split, ()))])
    cases = tuple(
        Case(
            name,
            (images.found.get(name, source / IMAGES / f"{name}.jpg"),),
            mask(masks.get(name, source / MASKS / f"{name}.png")),
        )
        for name in wanted
    )
    without = tuple(name for name in images.found if name not in wanted)
    splits["test"] = tuple(name for name in splits.get("test", ()) if name in wanted)  # VOC's own has no masks
    return Layout(
        kind="voc",
        name=source.resolve().name,
        task=labels.task,
        classes=classes,
        cases=cases,
        background=labels.background,
        ignore_index=None if palette else IGNORE,
        palette=palette,
        splits={split: names for split, names in splits.items() if names},
        notes=(note,),
        left_out=(Group("pictures without a mask", without),) if without else (),
    )


def _read_labelmap(path: Path) -> dict[str, Colour]:
    """The colour of each class, the background first and with it the colour that is always to be ignored."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from error
    palette: dict[str, Colour] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        red, green, blue = (int(part) for part in found["rgb"].split(",")) if found else (256, 0, 0)
        if found is None or max(red, green, blue) > 255:
            raise DataError(f"{path}: line {number}: expected 'name:red,green,blue::', found {line.strip()!r}")
        name = "ignore" if found["name"].lower() in VOIDS else found["name"]
        if name in palette:
            raise DataError(f"{path}: line {number}: {name!r} is there twice")
        palette[name] = red, green, blue
    ground = next((name for name in palette if name.lower() == BACKGROUND), BACKGROUND)
    if ground not in palette and (0, 0, 0) not in palette.values():
        palette[ground] = 0, 0, 0
    if "ignore" not in palette and VOID not in palette.values():
        palette["ignore"] = VOID
    return {name: palette[name] for name in sorted(palette, key=lambda name: name != ground)}


def _read_lists(source: Path) -> dict[str, tuple[str, ...]]:
    """The names in the lists of the splits."""
    found: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        path = source / LISTS / f"{split}.txt"
        if path.is_file():
            try:
                lines = [line.strip().strip('"') for line in path.read_text(encoding="utf-8-sig").splitlines()]
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{path}: not a readable text file ({error})") from error
            names = (unicodedata.normalize("NFC", inside(source, line, path).name) for line in lines if line)
            found[split] = tuple(names)
    return found


def _indexed(path: Path) -> bool:
    """Whether a mask is an indexed picture, whose values are not its colours."""
    try:
        with Image.open(path) as picture:
            return picture.mode == "P"
    except OSError:
        return False  # said when it is read


def _colour(number: int) -> Colour:
    """VOC's colour of an id: its bits, three at a time, from the highest bits of red, green and blue down."""
    bits = np.arange(8)
    red, green, blue = (int(np.sum((number >> (3 * bits + part) & 1) << (7 - bits))) for part in range(3))
    return red, green, blue
