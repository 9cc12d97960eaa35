"""nnU-Net's folders of raw data: ``DatasetXXX_NAME`` of version 2, ``TaskXXX_NAME`` of version 1."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from segkit.data.listing import entries
from segkit.data.reader import PICTURES
from segkit.errors import DataError
from segkit.importing.json_file import inside, read_json
from segkit.importing.labels import LabelFile, Labels, by_name, labels_of
from segkit.importing.layout import Case, Group, Layout

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
PREFIX = re.compile(r"(Dataset|Task)\d{3}_")
SPLITS = "splits_final.json"


class Files(BaseModel):
    """A case's files, where they aren't in the usual folders."""

    images: list[str] = Field(min_length=1)
    label: str


class About(BaseModel):
    """``dataset.json`` of version 2."""

    channel_names: dict[str, str] = Field(min_length=1)
    labels: dict[str, int | list[int]]
    file_ending: str = Field(pattern=r"^\..+")
    name: str | None = None
    dataset: dict[str, Files] | None = None


class AboutBefore(BaseModel):
    """``dataset.json`` of version 1."""

    modality: dict[str, str] = Field(min_length=1)
    labels: dict[int, str]
    name: str | None = None

    def now(self, path: Path) -> About:
        """The same as version 2 says it; the path of the file is for messages."""
        labels = by_name(self.labels, path)
        return About(channel_names=self.modality, labels=labels, file_ending=".nii.gz", name=self.name)


class Fold(BaseModel):
    """A fold of ``splits_final.json``."""

    train: list[str]
    val: list[str]


def read_nnunet(source: Path) -> Layout:
    """What is in a folder of nnU-Net's raw data.

    The training cases are split as the first fold of a ``splits_final.json`` in the folder says; test cases with labels
    in ``labelsTs`` are the test split.

    Raises:
        DataError: ``dataset.json`` or the splits can't be used, or a case has more channels than are named.
    """
    about = source / "dataset.json"
    newer = "channel_names" in read_json(about, dict[str, Any])
    said = read_json(about, About) if newer else read_json(about, AboutBefore).now(about)
    labels, notes = labels_of(said.labels, about)
    train, without = _listed(source, said, labels) if said.dataset else _found(source, "Tr", said, labels)
    test, without_test = _found(source, "Ts", said, labels) if (source / "imagesTs").is_dir() else ((), ())
    splits, split_notes = _splits(source / SPLITS, train)
    if test:
        splits = splits or {"train": tuple(case.name for case in train)}
        splits |= {"test": tuple(case.name for case in test)}
    merged = next((len(case.image) for case in train if len(case.image) > 1), 0)
    if merged:
        notes += (f"the {merged} channels of a case are put into one file, in the order of their numbers",)
    return Layout(
        kind="nnunet",
        name=said.name or PREFIX.sub("", source.resolve().name),
        task=labels.task,
        classes=labels.classes,
        cases=(*train, *test),
        background=labels.background,
        ignore_index=labels.ignore_index,
        splits=splits,
        notes=(*notes, *split_notes),
        left_out=(*without, *without_test),
    )


def _listed(source: Path, said: About, labels: Labels) -> tuple[tuple[Case, ...], tuple[Group, ...]]:
    """The cases whose files ``dataset.json`` names."""
    about = source / "dataset.json"
    cases = []
    for name, files in (said.dataset or {}).items():
        images = tuple(inside(source, file, about) for file in files.images)
        cases.append(Case(name, images, LabelFile(inside(source, files.label, about), labels)))
    return tuple(cases), ()


def _found(source: Path, part: str, said: About, labels: Labels) -> tuple[tuple[Case, ...], tuple[Group, ...]]:
    """The cases of ``imagesTr`` or ``imagesTs`` that have labels, and what else lies there."""
    ending = said.file_ending
    if not (source / f"images{part}").is_dir():
        raise DataError(f"{source / f'images{part}'}: no such folder; nnU-Net's images lie there, as CASE_0000{ending}")
    images: dict[str, dict[int, Path]] = defaultdict(dict)
    strange = []
    for file in entries(source / f"images{part}"):
        found = CHANNEL.fullmatch(file.name.removesuffix(ending)) if file.name.endswith(ending) else None
        if found:
            images[found["case"]][int(found["channel"])] = file
        else:
            strange.append(file.name)
    folder = source / f"labels{part}"
    files = entries(folder) if folder.is_dir() else []
    masks = {file.name.removesuffix(ending): file for file in files if file.name.endswith(ending)}
    # The colours of a picture are channels in one file: then no case has a second.
    alone = all(set(found) == {0} for found in images.values())
    in_one_file = alone and said.file_ending.lower() in PICTURES
    cases = []
    for name, mask in masks.items():
        first = source / f"images{part}" / f"{name}_0000{ending}"
        channels = _channels(first, images.get(name, {}), said, in_one_file=in_one_file)
        cases.append(Case(name, channels, LabelFile(mask, labels)))
    groups = (
        Group(f"cases of images{part} without a file in labels{part}", tuple(sorted(set(images) - set(masks)))),
        Group(f"files in images{part} that aren't called CASE_0000{ending}", tuple(strange)),
    )
    return tuple(cases), tuple(group for group in groups if group.names)


def _channels(first: Path, found: dict[int, Path], said: About, *, in_one_file: bool) -> tuple[Path, ...]:
    """The files of a case's channels, whether they are there or not; ``in_one_file``: all of them, as colours."""
    wanted = 1 if in_one_file else len(said.channel_names)
    beyond = [file for number, file in found.items() if number >= wanted]
    if beyond:
        raise DataError(f"{beyond[0]}: a channel beyond the {wanted} in dataset.json; name it there, or remove it")
    name = first.name.removesuffix(f"_0000{said.file_ending}")
    return tuple(first.with_name(f"{name}_{number:04d}{said.file_ending}") for number in range(wanted))


def _splits(path: Path, cases: Sequence[Case]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The first fold, and what to say of it and the others."""
    if not path.is_file():
        return {}, ()
    folds = read_json(path, list[Fold])
    if not folds:
        raise DataError(f"{path}: no folds; remove it to have splits drawn")
    first = folds[0]
    notes = [f"train and val are fold 0 of {SPLITS}"]
    if len(folds) > 1:
        notes[0] += f"; other folds, which aren't taken: {len(folds) - 1}"
    unlisted = len({case.name for case in cases} - {*first.train, *first.val})
    if unlisted:
        notes.append(f"cases in no split: {unlisted} that fold 0 doesn't list")
    return {"train": tuple(first.train), "val": tuple(first.val)}, tuple(notes)
