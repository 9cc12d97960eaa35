"""Which layout a dataset of others has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segkit.data.suffixes import stem_of
from segkit.errors import DataError, UsageError
from segkit.importing.coco import coco_files
from segkit.importing.json_file import read_json
from segkit.importing.layout import KINDS, Kind
from segkit.importing.nnunet import CHANNEL
from segkit.importing.voc import IMAGES, MASKS

EXPECTED: dict[Kind, str] = {
    "nnunet": "dataset.json with 'channel_names' (or 'modality'), imagesTr/CASE_0000.nii.gz, labelsTr/",
    "decathlon": "dataset.json with 'training', and the files that it names",
    "coco": "a JSON with 'images', 'annotations' and 'categories', there or a folder deeper",
    "voc": f"{IMAGES}/ and {MASKS}/",
}


def kind_of(source: Path) -> Kind:
    """The layout of a dataset.

    Raises:
        DataError: it has none that is known.
        UsageError: it has several.
    """
    found = [kind for kind in KINDS if _TESTS[kind](source)]
    if len(found) > 1:
        listed = ", ".join(f"{kind} ({EXPECTED[kind]})" for kind in found)
        raise UsageError(f"{source}: looks like {listed}; say which with --from (in Python kind=)")
    if found:
        return found[0]
    if source.is_dir():
        for folder in sorted(entry for entry in source.iterdir() if entry.is_dir()):
            if any(test(folder) for test in _TESTS.values()):
                raise DataError(f"{source}: no dataset itself, but {folder} looks like one; import that")
    wanted = "; ".join(f"{kind}: {what}" for kind, what in EXPECTED.items())
    raise DataError(f"{source}: no layout that is known ({wanted})")


def _about(source: Path) -> dict[str, Any]:
    about = source / "dataset.json"
    return read_json(about, dict[str, Any]) if about.is_file() else {}


def _is_nnunet(source: Path) -> bool:
    said = _about(source)
    return "channel_names" in said or ("modality" in said and _in_channels(source, said))


def _is_decathlon(source: Path) -> bool:
    said = _about(source)
    return "channel_names" not in said and "training" in said and not _in_channels(source, said)


def _in_channels(source: Path, said: dict[str, Any]) -> bool:
    """Whether images lie there as files of channels, and not as ``dataset.json`` lists them: version 1 of nnU-Net."""
    listed = said.get("training")
    first = listed[0] if isinstance(listed, list) and listed else None
    named = first.get("image") if isinstance(first, dict) else None
    if isinstance(named, str) and (source / named).is_file():
        return False
    folder = source / "imagesTr"
    return folder.is_dir() and any(CHANNEL.fullmatch(stem_of(file)) for file in folder.iterdir())


_TESTS: dict[Kind, Callable[[Path], bool]] = {
    "nnunet": _is_nnunet,
    "decathlon": _is_decathlon,
    "coco": lambda source: bool(coco_files(source)),
    "voc": lambda source: (source / IMAGES).is_dir() and (source / MASKS).is_dir(),
}
