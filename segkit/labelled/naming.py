"""What labelled images, their classes and their splits are called."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Splits by what folders and lists call them."""


def class_name(name: str) -> str:
    """A class's name in one form of Unicode: Macs write letters and their accents apart.

    >>> class_name("Ku\u0308he") == class_name("K\u00fche")
    True
    """
    return unicodedata.normalize("NFC", name)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes in the order of their ids: as text, or as numbers where all are whole numbers.

    >>> class_order(["dog", "Cat", "cat"]), class_order(["10", "9", "0"])
    (('Cat', 'cat', 'dog'), ('0', '9', '10'))
    """
    found = set(names)
    if all(name.isascii() and name.isdigit() for name in found):
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    return tuple(sorted(found))


def image_names(files: Sequence[str]) -> list[str]:
    """Names of images from their files' paths, without suffix where that leaves them different.

    >>> image_names(["a/1.png", "a/1.jpg", "b/1.png"])
    ['a/1.png', 'a/1.jpg', 'b/1']
    """
    stems = [str(PurePosixPath(file).with_suffix("")) for file in files]
    times = Counter(stems)
    names = [stem if times[stem] == 1 else file for stem, file in zip(stems, files, strict=True)]
    return names if len(set(names)) == len(names) else list(files)
