"""COCO's JSON of instances: pictures, and the outlines of the objects in them."""

import mmap
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Annotated

from pydantic import BaseModel, Discriminator, Field, Tag

from segkit.data.reader import PICTURES
from segkit.data.suffixes import suffix_of
from segkit.errors import DataError
from segkit.importing.coco_mask import DrawnMask, Outline, Rle
from segkit.importing.json_file import inside, read_json
from segkit.importing.labels import BACKGROUND
from segkit.importing.layout import Case, Group, Layout

KEYS = (b'"images"', b'"annotations"', b'"categories"')
SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|idation|id)?(?![a-z])")

Coordinate = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Id = int | str


def _drawn(segmentation: "Segmentation | None") -> "Segmentation | None":
    """An outline without polygons of fewer than three corners, which enclose nothing; None where that is all."""
    if isinstance(segmentation, list):
        segmentation = [polygon for polygon in segmentation if len(polygon) >= 6 or len(polygon) % 2]
    return segmentation or None


def _form(segmentation: object) -> str:
    return "run_lengths" if isinstance(segmentation, dict) else "polygons"


Polygons = list[list[Coordinate]]
Segmentation = Annotated[
    Annotated[Rle, Tag("run_lengths")] | Annotated[Polygons, Tag("polygons")], Discriminator(_form)
]


class Picture(BaseModel):
    """One of ``images``."""

    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None


class Annotation(BaseModel):
    """One of ``annotations``: an object, or with ``iscrowd`` many."""

    id: Id | None = None
    image_id: Id
    category_id: int
    segmentation: Segmentation | None = None
    bbox: list[Coordinate] | None = None
    iscrowd: bool = False


class Category(BaseModel):
    """One of ``categories``."""

    id: int
    name: str


class Instances(BaseModel):
    """The JSON."""

    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category] = Field(min_length=1)


def is_coco(path: Path) -> bool:
    """Whether a file has the keys of COCO's JSON somewhere; it isn't read otherwise, for it can be large."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(data.find(key) >= 0 for key in KEYS)
    except (OSError, ValueError):  # ValueError: it is empty
        return False


def coco_files(source: Path) -> list[Path]:
    """The JSONs of COCO's in a folder and its subfolders; the file itself where it is one."""
    if source.is_file():
        return [source]
    found = sorted(file for pattern in ("*.json", "*/*.json") for file in source.glob(pattern))
    return [file for file in found if file.name != "dataset.json" and is_coco(file)]


def read_coco(source: Path, *, multilabel: bool = False) -> Layout:
    """What COCO's JSONs say of the pictures in a folder: a class of pixels for each category.

    Where there are files called ``instances…``, others (key points, captions) are left out. The split is told by the
    JSON's name, or by that of its folder: train, val, test.

    Args:
        source: the folder, or one JSON, whose pictures lie beside it or beside the folder ``annotations``.
        multilabel: a mask for each class, so that objects of different classes keep what they have in common;
            otherwise the smaller object is on top.

    Raises:
        DataError: a JSON can't be used, names a file outside the folder, or two of them name the same picture.
    """
    files = coco_files(source)
    if not files:
        raise DataError(f"{source}: no JSON with 'images', 'annotations' and 'categories' in it or its subfolders")
    chosen = [file for file in files if file.name.startswith("instances")] or files
    root = source if source.is_dir() else source.parent.parent if source.parent.name == "annotations" else source.parent
    said = {file: read_json(file, Instances) for file in chosen}
    classes, number_of, notes = _classes(said, multilabel=multilabel)
    pictures = _Pictures(root)
    cases: dict[str, Case] = {}
    listed_by: dict[Path, Path] = {}
    splits: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for file, one in said.items():
        split = _split_of(file, root)
        objects: dict[Id, list[Outline]] = defaultdict(list)
        for annotation in one.annotations:
            number = number_of.get(annotation.category_id)
            if number is None:
                raise DataError(
                    f"{file}: annotation {annotation.id} has category {annotation.category_id}, which isn't among "
                    "'categories'; add it there"
                )
            drawn = Outline(number, _drawn(annotation.segmentation), annotation.bbox, annotation.iscrowd, annotation.id)
            objects[annotation.image_id].append(drawn)
        for picture in one.images:
            path = pictures.find(picture.file_name, file, split)
            if path in listed_by:
                by = listed_by[path]
                again = "twice; keep one of them" if by == file else f"as does {by}; name one JSON as the source"
                raise DataError(f"{file}: lists {picture.file_name!r} {again}")
            listed_by[path] = file
            name = PurePath(path.name).stem
            if name in cases:
                raise DataError(f"{path}: {cases[name].image[0]} has the same name; rename one of them")
            size = None if picture.height is None or picture.width is None else (picture.height, picture.width)
            outlines = tuple(objects.pop(picture.id, ()))
            cases[name] = Case(name, (path,), DrawnMask(path, size, outlines, classes, multilabel, file))
            counts.update(_facts(outlines))
            if split is not None:
                splits[split].append(name)
        counts["annotations of pictures that aren't listed are left out"] += sum(map(len, objects.values()))
    without = Group("pictures that no JSON lists", pictures.others(listed_by))
    unread = Group("JSONs beside those called instances…", tuple(file.name for file in files if file not in chosen))
    return Layout(
        kind="coco",
        name=root.resolve().name,
        task="multilabel" if multilabel else "multiclass" if len(classes) > 2 else "binary",
        classes=classes,
        cases=tuple(cases.values()),
        background=None if multilabel else classes[0],
        ignore_index=255,  # said always, for masks with nothing but 0 and 255 would be read as foreground
        splits={split: tuple(names) for split, names in splits.items()},
        notes=(*notes, *(f"{what}: {count:,}" for what, count in counts.items() if count)),
        left_out=tuple(group for group in (without, unread) if group.names),
    )


def _classes(
    said: dict[Path, Instances], *, multilabel: bool
) -> tuple[tuple[str, ...], dict[int, int], tuple[str, ...]]:
    """The classes' names, the class of each category's id, and what was decided."""
    names: dict[int, str] = {}
    for file, one in said.items():
        for category in one.categories:
            if names.setdefault(category.id, category.name) != category.name:
                raise DataError(
                    f"{file}: category {category.id} is {category.name!r}, in another JSON {names[category.id]!r}; "
                    "import them one by one"
                )
    used = {annotation.category_id for one in said.values() for annotation in one.annotations}
    order = sorted(names)
    classes = [] if multilabel else [BACKGROUND]
    number_of: dict[int, int] = {}
    for category_id in order:
        name = names[category_id]
        if not multilabel and name.lower() == BACKGROUND:
            number_of[category_id] = 0
            continue
        if name not in classes:
            classes.append(name)
        number_of[category_id] = classes.index(name)
    notes = []
    if order != [number_of[category_id] for category_id in order]:
        notes.append("categories got ids in the order of theirs")
    shared = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if shared:
        notes.append(f"categories of the same name are one class: {', '.join(shared)}")
    empty = sorted({name for category_id, name in names.items() if category_id not in used} - set(shared))
    if empty:
        notes.append(f"classes without any object: {', '.join(empty)}")
    return tuple(classes), number_of, tuple(notes)


def _split_of(file: Path, root: Path) -> str | None:
    """Which split a JSON is of: by its name, else by that of its folder."""
    for word in (file.stem, *([file.parent.name] if file.parent != root else [])):
        found = SPLIT.search(word.lower())
        if found:
            return found[1]
    return None


def _facts(outlines: Iterable[Outline]) -> Iterable[str]:
    """What is to be counted of a picture's objects."""
    empty = True
    for one in outlines:
        empty = False
        if one.crowd:
            yield "crowds, ignored where no single object is drawn"
        elif one.shape is None:
            yield "objects with a box and no outline, whose box is ignored" if one.box else "objects without an outline"
    if empty:
        yield "pictures without an object"


class _Pictures:
    """The picture files below a folder, by their names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for folder, folders, names in os.walk(root, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if suffix_of(Path(name)) in PICTURES and not name.startswith("."):
                    self._by_name[name].append(Path(folder) / name)

    def find(self, named: str, file: Path, split: str | None) -> Path:
        """The picture that a JSON names: of those whose path ends so the one beside the JSON, or in its split's folder.

        Raises:
            DataError: several could be meant, or the name leads out of the folder.
        """
        asked = inside(self.root, named, file)
        parts = asked.relative_to(self.root).parts
        found = [path for path in self._by_name.get(parts[-1], ()) if path.parts[-len(parts) :] == parts]
        if len(found) > 1:
            found = [path for path in found if path == file.parent.joinpath(*parts)] or found
        if len(found) > 1 and split is not None:
            found = [path for path in found if self._in_split(path, split)] or found
        if len(found) > 1:
            places = " and ".join(str(path) for path in found[:2])
            raise DataError(f"{file}: {named!r} could be {places}; name it by its place in {self.root}")
        return found[0] if found else asked

    def others(self, taken: Iterable[Path]) -> tuple[str, ...]:
        """The pictures that aren't among some."""
        known = set(taken)
        files: Sequence[Path] = [path for paths in self._by_name.values() for path in paths]
        return tuple(sorted(str(path.relative_to(self.root)) for path in files if path not in known))

    def _in_split(self, path: Path, split: str) -> bool:
        folders = path.relative_to(self.root).parts[:-1]
        return any((found := SPLIT.search(folder.lower())) and found[1] == split for folder in folders)
