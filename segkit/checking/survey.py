"""What a dataset's folder says before a picture is opened: its description, its pairs and its splits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.checking.findings import Finding, Place, finding
from segkit.data.description import Description, describe
from segkit.data.folder import Sample, find_files
from segkit.data.listing import list_folder
from segkit.data.masks import LOSSLESS
from segkit.data.reader import PICTURES
from segkit.data.splits import draw_splits, overlaps
from segkit.data.suffixes import SERIES, stem_of
from segkit.errors import DataError

LOSSY = tuple(suffix for suffix in PICTURES if suffix not in LOSSLESS)
"""Suffixes of pictures that can't be masks."""


@dataclass(frozen=True)
class Survey:
    """The files of a dataset and what is said about them.

    Attributes:
        path: the dataset's folder.
        description: what of ``dataset.yaml`` holds; its defaults where there is none.
        coded: whether the masks' classes can be judged: not where the description of the classes is broken.
        samples: every picture, by stem.
        lossy: masks in a lossy format, by stem, of pictures that have no other mask.
        splits: as listed, or drawn where none are.
        findings: what is wrong so far.
    """

    path: Path
    description: Description
    coded: bool
    samples: dict[str, Sample]
    lossy: dict[str, Path]
    splits: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def has_volumes(self) -> bool:
        """Whether there are volumes among the pictures."""
        return any(sample.volume for sample in self.samples.values())

    @property
    def depth_places(self) -> dict[str, str]:
        """Names of pictures by the places of their depth."""
        depth = {stem: sample.depth for stem, sample in self.samples.items()}
        return {self.place(file).name: stem for stem, file in depth.items() if file is not None}

    def place(self, file: Path, detail: str = "") -> Place:
        """A file, named from the dataset's folder on."""
        return Place(str(file.relative_to(self.path)), detail)


def survey(path: str | Path) -> Survey:
    """Return what is in a dataset's folder; raise DataError where there is no such folder."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    found: list[Finding] = []
    description = Description()
    faults: list[str] = []
    decided: list[Place] = []
    yaml = path / "dataset.yaml"
    if yaml.is_file():
        try:
            description, faults = describe(yaml)
        except DataError as error:
            faults = [reason(error, yaml)]
    else:
        decided.append(Place("dataset.yaml", "there is none: classes and splits are worked out"))
    found += finding("description", [Place("dataset.yaml", fault) for fault in faults])

    samples, lossy, listed = _list_files(path, description)
    found += listed
    splits = dict(description.splits)
    if not splits:
        masked = [stem for stem, sample in samples.items() if sample.mask or stem in lossy]
        splits = draw_splits(masked, description.groups)
        counts = ", ".join(f"{split} {len(stems)}" for split, stems in splits.items())
        decided.append(
            Place("splits", f"drawn by a hash of the {'groups' if description.groups else 'names'}: {counts}")
        )
    found += finding("decided", decided)
    result = Survey(path, description, bool(description.classes) or not faults, samples, lossy, splits, ())
    found += [*_pairs(result, drawn=not description.splits), *_splits(result)]
    return Survey(path, description, result.coded, samples, lossy, splits, tuple(found))


def reason(error: Exception, file: Path) -> str:
    """An error's message without the name of the file it begins with."""
    return str(error).removeprefix(str(file)).removeprefix(":").strip()


def _list_files(path: Path, description: Description) -> tuple[dict[str, Sample], dict[str, Path], list[Finding]]:
    """Samples and lossy masks by stem, and what is odd about the folders."""
    missing: list[Place] = []
    twice: list[Place] = []
    others: list[Place] = []
    lossy: dict[str, Path] = {}
    stems: dict[str, list[str]] = {}

    def listed(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
        try:
            listing = list_folder(folder, suffixes)
        except DataError as error:
            missing.append(Place(f"{folder.name}/", reason(error, folder).partition("; a dataset has")[0]))
            return {}
        strange = list(listing.others)
        if folder.name == "masks":
            lossy.update({stem_of(entry): entry for entry in strange if entry.suffix.lower() in LOSSY})
            strange = [entry for entry in strange if entry.suffix.lower() not in LOSSY]
        if not listing.found and not (folder.name == "masks" and lossy):
            known = ", ".join(suffix for suffix in suffixes if suffix != SERIES)
            missing.append(Place(f"{folder.name}/", f"no files of a type that is read here: {known}"))
        twice.extend(
            Place(f"{folder.name}/{entry.name}", listing.found[stem_of(entry)].name) for entry in listing.twice
        )
        counts = Counter("folders" if entry.is_dir() else entry.suffix or entry.name for entry in strange)
        others.extend(Place(f"{folder.name}/", f"{count} × {kind}") for kind, count in sorted(counts.items()))
        stems[folder.name] = list(listing.found)
        return listing.found

    masked = description.task != "multilabel" or (path / "masks").is_dir()
    if not masked:
        missing.append(Place("masks/", "no such folder"))
    if description.roi and not (path / description.roi).is_dir():
        missing.append(Place(f"{description.roi}/", "no such folder, but 'roi:' in dataset.yaml names it"))
        description = description.model_copy(update={"roi": None})
    samples = find_files(path, description, listed, masked=masked)
    lossy = {stem: file for stem, file in lossy.items() if stem in samples and samples[stem].mask is None}
    alone = {
        folder: [Place(f"{folder}/{stem}") for stem in stems.get(folder, []) if stem not in samples]
        for folder in ("masks", "depth")
    }
    return (
        samples,
        lossy,
        [
            *finding("folder", missing),
            *finding("same_name", twice),
            *finding("other_files", others),
            *finding("mask_alone", alone["masks"]),
            *finding("depth_alone", alone["depth"]),
        ],
    )


def _pairs(seen: Survey, *, drawn: bool) -> list[Finding]:
    """Names in splits, or in groups, that have no files."""
    used = {stem: split for split, stems in seen.splits.items() for stem in stems}
    if drawn:  # then every picture should have been used
        used |= {stem: "" for stem in seen.samples if stem not in used}
    known = [stem for stem in used if stem in seen.samples]

    def places(stems: Sequence[str]) -> list[Place]:
        return [Place(stem, used[stem] + _hint(stem)) for stem in stems]

    def _hint(stem: str) -> str:
        bare = stem_of(Path(stem))
        return f"; write {bare}" if stem not in seen.samples and bare in seen.samples else ""

    grouped = {stem: group for group, stems in seen.description.groups.items() for stem in stems}
    bare = [stem for stem in known if seen.samples[stem].mask is None and stem not in seen.lossy]
    roi = [stem for stem in known if seen.description.roi and seen.samples[stem].roi is None]
    return [
        *finding("no_picture", places([stem for stem in used if stem not in seen.samples])),
        *finding("no_mask", places(bare)),
        *finding("no_roi", places(roi)),
        *finding("unlisted", [Place(stem) for stem in seen.samples if stem not in used]),
        *finding("unknown_stems", [Place(s, group) for s, group in grouped.items() if s not in seen.samples]),
    ]


def _splits(seen: Survey) -> list[Finding]:
    """Splits that are empty, missing, or have something in common."""
    empty = [Place(split) for split, stems in seen.splits.items() if not stems]
    absent = [Place(split) for split in ("train", "val", "test") if split not in seen.splits]
    stems, groups = [], []
    for shared in overlaps(seen.splits, seen.description.groups):
        between = f"{shared.first} and {shared.second}"
        stems += [Place(stem, between) for stem in shared.stems]
        # A name in two splits is told once, by the name.
        members = seen.description.groups
        alone = [group for group in shared.groups if not set(members[group]) & set(shared.stems)]
        groups += [Place(group, between) for group in alone]
    return [
        *finding("empty_split", empty),
        *finding("no_split", absent),
        *finding("two_splits", stems),
        *finding("group", groups),
    ]
