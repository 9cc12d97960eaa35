"""Tasks of the Medical Segmentation Decathlon: ``dataset.json`` with pairs of an image and its label."""

from pathlib import Path

from pydantic import BaseModel

from segkit.data.suffixes import stem_of
from segkit.importing.json_file import inside, read_json
from segkit.importing.labels import LabelFile, by_name, labels_of
from segkit.importing.layout import Case, Group, Layout


class Pair(BaseModel):
    """An image, and its label where there is one."""

    image: str
    label: str | None = None


class About(BaseModel):
    """``dataset.json``, with the lists that others have added to the Decathlon's own."""

    labels: dict[int, str]
    training: list[Pair]
    validation: list[Pair] = []
    test: list[str | Pair] = []
    name: str | None = None


def read_decathlon(source: Path) -> Layout:
    """What is in the folder of a task: a case is named after its image.

    Test images, which come without labels, are left out.

    Raises:
        DataError: ``dataset.json`` can't be used, or names files outside the folder.
    """
    about = source / "dataset.json"
    said = read_json(about, About)
    labels, notes = labels_of(by_name(said.labels, about), about)
    test = [Pair(image=one) if isinstance(one, str) else one for one in said.test]
    cases: list[Case] = []
    splits: dict[str, tuple[str, ...]] = {}
    without: dict[str, tuple[str, ...]] = {}
    for split, pairs in (("train", said.training), ("val", said.validation), ("test", test)):
        images = [(inside(source, pair.image, about), pair.label) for pair in pairs]
        labelled = [
            Case(stem_of(image), (image,), LabelFile(inside(source, label, about), labels))
            for image, label in images
            if label is not None
        ]
        cases += labelled
        splits[split] = tuple(case.name for case in labelled)
        without[split] = tuple(stem_of(image) for image, label in images if label is None)
    return Layout(
        kind="decathlon",
        name=said.name or source.resolve().name,
        task=labels.task,
        classes=labels.classes,
        cases=tuple(cases),
        background=labels.background,
        ignore_index=labels.ignore_index,
        splits={split: names for split, names in splits.items() if names},
        notes=notes,
        left_out=tuple(Group(f"{split} images without labels", names) for split, names in without.items() if names),
    )
