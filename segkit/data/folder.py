"""A dataset opened from a folder: its classes, its splits, and where each picture's files are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segkit.data.alignment import Alignment, aligned
from segkit.data.camera import Intrinsics
from segkit.data.coding import Coding, background_of, find_coding, task_of
from segkit.data.depth import DEPTHS, Depth, read_depth, stored_values
from segkit.data.depth_format import UNITS, DepthFormat
from segkit.data.description import Colour, Description, read_description
from segkit.data.listing import by_stem, entries, is_volume
from segkit.data.mask_on_picture import on_picture, resized_mask, size_in_words
from segkit.data.masks import IGNORE, LOSSLESS, Ids, apply_table, class_files, read_colours, read_values
from segkit.data.reader import PICTURES, Reader
from segkit.data.slices import Plane
from segkit.data.splits import draw_splits, overlaps
from segkit.data.suffixes import DICOM, SERIES, VOLUMES, stem_of, suffix_of
from segkit.data.turned import depth_on
from segkit.errors import DataError, UsageError
from segkit.nearest import nearest
from segkit.task import Task

if TYPE_CHECKING:
    from segkit.data.cases import Cases

UNMASKED: dict[str, Any] = {"task": None, "classes": (), "background": None, "roi": None, "palette": {}}
"""A description without what it says of masks."""
NO_CODING = Coding((), np.full(256, IGNORE, dtype=np.uint8))


@dataclass(frozen=True)
class Sample:
    """The files of one picture."""

    name: str
    image: Path
    mask: Path | None = None
    """A file; for multilabel a folder with one file for each class."""
    depth: Path | None = None
    roi: Path | None = None
    volume: bool = False
    """Whether the image, and then the mask, is a volume (or a DICOM image, which is one of a slice or more)."""
    plane: Plane | None = None
    """Of a volume's slice: the plane it lies in. None: the whole volume."""
    index: int = 0
    """Of a volume's slice: its number in the plane's order."""
    case: str = ""
    """Of a volume's slice: the volume's name."""

    @property
    def whole(self) -> "Sample":
        """The volume that a slice is of; any other sample itself."""
        return self if self.plane is None else replace(self, name=self.case, plane=None, index=0, case="")


@dataclass(frozen=True)
class DatasetFolder:
    """What ``open_dataset`` found: the description with every default decided, and the files."""

    path: Path
    name: str
    task: Task
    classes: tuple[str, ...]
    background: int | None
    ignore_index: int | None
    splits: dict[str, tuple[str, ...]]
    palette: dict[str, Colour] | None
    depth_format: DepthFormat | None
    """What the values in ``depth/`` mean; None where nothing says so."""
    intrinsics: Intrinsics | None
    """Of the camera of the pictures."""
    alignment: Alignment | None
    """How depth comes to lie on its picture, where it doesn't in the files."""
    roi: str | None
    """Name of the folder with the regions of interest."""
    groups: dict[str, tuple[str, ...]]
    """Stems that belong together, by the group's name; empty where none are given."""
    notes: tuple[str, ...]
    """What was decided without being told, to be said aloud."""
    files: dict[str, Sample] = field(repr=False)
    coding: Coding = field(repr=False)

    def samples(self, *splits: str) -> list[Sample]:
        """Return the samples of one or several splits, in the order listed, each once.

        Raises:
            UsageError: an unknown split.
            DataError: an empty split; a stem without image, mask or region of interest.
        """
        stems: dict[str, None] = {}
        for split in splits:
            if split not in self.splits:
                raise UsageError(f"{self.path}: no split {split!r}{nearest(split, self.splits)}")
            if not self.splits[split]:
                raise DataError(f"{self.path}: split {split!r} is empty")
            self._check_files(split)
            stems.update(dict.fromkeys(self.splits[split]))
        return [self.files[stem] for stem in stems]

    def without_depth(self) -> "DatasetFolder":
        """The same pictures as if none had depth."""
        files = {stem: replace(sample, depth=None) for stem, sample in self.files.items()}
        return replace(self, files=files, depth_format=None, alignment=None)

    def read_mask(self, sample: Sample, size: tuple[int, int] | None = None, *, inside_roi: bool = True) -> Ids:
        """Return class ids uint8 [H, W], 255 = ignore; for multilabel 0, 1 or 255, [K, H, W].

        Of a whole volume [I, J, K] they come as one tall picture, its voxels in the file's order: [I · J, K].

        Args:
            sample: one of ``samples``.
            size: the picture's (height, width), if known; the mask must have it. A mask drawn on the stored pixels
                of a picture that its EXIF tag turns by 90° is turned with it. Of a slide, or another TIFF, it may be
                drawn on any level: where the picture is brought to another resolution, it follows by nearest pixels.

            inside_roi: ignore what lies outside the region of interest; False reads the mask as it is drawn.

        Raises:
            DataError: the mask is missing, unreadable, of another size or holds values that are no class.
        """
        if sample.mask is None:
            raise DataError(f"{self.path}: {sample.name} has no mask")
        if sample.volume:
            return self._read_volume_mask(sample, size, inside_roi=inside_roi)
        if self.task == "multilabel":
            ids = self._read_labels(sample.mask)
        elif self.palette:
            ids = read_colours(sample.mask, self.palette, self.classes)
        else:
            ids = apply_table(read_values(sample.mask), self.coding.table, sample.mask, len(self.classes))
        if size is not None and ids.shape[-2:] != size:
            ids = on_picture(ids, size, sample.mask, sample.image)
        if sample.roi is not None and inside_roi:
            inside = read_values(sample.roi) > 0
            if inside.shape != ids.shape[-2:]:
                inside = on_picture(inside.astype(np.uint8), ids.shape[-2:], sample.roi, sample.image) > 0
            ids = np.where(inside, ids, np.uint8(IGNORE))
        return ids

    @cached_property
    def cases(self) -> "Cases":
        """Its volumes."""
        from segkit.data.cases import Cases

        return Cases(self)

    def slices(self, samples: Sequence[Sample], reader: Reader) -> list[Sample]:
        """Pictures as they are, and of each volume the slices that a reader's model is shown."""
        return self.cases.slices(samples, reader) if any(sample.volume for sample in samples) else list(samples)

    def _read_volume_mask(self, sample: Sample, size: tuple[int, int] | None, *, inside_roi: bool) -> Ids:
        ids = self.cases.mask(sample, inside_roi=inside_roi)
        if sample.plane is None:
            layers = ids.shape[:-3]
            return ids.reshape(*layers, -1, ids.shape[-1])
        if size is None or size == ids.shape[-2:]:
            return ids
        return resized_mask(ids, size)

    def read_depth(self, sample: Sample, size: tuple[int, int]) -> Depth:
        """Return depth on a picture's pixels, float32 [H, W, C + 1]: metres (C = 1) or values as they are; validity.

        Zeros where the sample has no depth.

        Args:
            sample: one of ``samples``.
            size: the picture's (height, width). Depth must have it unless the cameras' numbers say how it is brought
                there. Depth on the stored pixels of a picture that its EXIF tag turns by 90° is turned with it.

        Raises:
            DataError: nothing says what the values mean; the file is unreadable, of another size, or has another
                number of channels than the other files.
        """
        depth = self.stored_depth(sample)
        if depth is None:
            return np.zeros((*size, self.depth_channels + 1), dtype=np.float32)
        if self.alignment is not None:
            return aligned(depth, self.alignment, size)
        found = depth_on(depth, size, sample.image)
        if found is None:
            raise DataError(
                f"{sample.depth}: depth is {size_in_words(depth[..., 0])}, its picture {size[1]}×{size[0]} (width × "
                "height); export it pixel for pixel, or give the cameras in dataset.yaml: intrinsics, "
                "depth_intrinsics and depth_to_colour"
            )
        return found

    def stored_depth(self, sample: Sample) -> Depth | None:
        """Depth as it lies in a sample's file, float32 [h, w, C + 1]; None where it has none.

        Raises:
            DataError: as :meth:`read_depth`, but for sizes.
        """
        channels = self.depth_channels
        if sample.depth is None or self.depth_format is None:
            return None
        depth = read_depth(sample.depth, self.depth_format)
        if depth.shape[2] != channels + 1:
            raise DataError(
                f"{sample.depth}: {depth.shape[2] - 1} channels, {self._first_depth} has {channels}; export all alike"
            )
        return depth

    @cached_property
    def depth_channels(self) -> int:
        """C of ``read_depth``: 1 for depth in metres, otherwise that of the first file, 1 where there is none.

        Raises:
            DataError: there is depth, but nothing says what its values mean; or the first file is unreadable.
        """
        if self._first_depth is None:
            return 1
        if self.depth_format is None:
            raise DataError(
                f"{self.path / 'dataset.yaml'}: nothing says what the values in depth/ mean; add 'depth_unit:' "
                f"with {UNITS}"
            )
        return 1 if self.depth_format.metric else int(stored_values(self._first_depth).shape[2])

    @property
    def _first_depth(self) -> Path | None:
        return next((sample.depth for sample in self.files.values() if sample.depth is not None), None)

    def _read_labels(self, folder: Path) -> Ids:
        """Multilabel masks [K, H, W], one file for each class in the sample's folder."""
        layers = []
        for file in class_files(folder, self.classes):
            layers.append(apply_table(read_values(file), self.coding.table, file, 2))
            if layers[-1].shape != layers[0].shape:
                first, other = (size_in_words(layer) for layer in (layers[0], layers[-1]))
                raise DataError(f"{file}: mask is {other}, that of {self.classes[0]!r} {first}")
        return np.stack(layers)

    def _check_files(self, split: str) -> None:
        stems = self.splits[split]
        _refuse(
            [stem for stem in stems if stem not in self.files],
            f"{self.path}: split {split!r} lists {{}} without a picture in images/",
        )
        _refuse(
            [stem for stem in stems if self.files[stem].mask is None],
            f"{self.path}: split {split!r} lists {{}} without a mask in masks/",
        )
        if self.roi is not None:
            _refuse(
                [stem for stem in stems if self.files[stem].roi is None],
                f"{self.path}: split {split!r} lists {{}} without a region of interest in {self.roi}/",
            )


def open_dataset(path: str | Path, *, masks: bool = True) -> DatasetFolder:
    """Return the dataset in a folder with ``images/``, ``masks/`` and, if it is there, ``dataset.yaml``.

    Without ``dataset.yaml`` the classes come from the masks' values. Without splits, 70/15/15 % of the pictures are
    drawn by a hash of their names (or of their groups' names). What is decided so is said in ``notes``.

    Where nobody needs ``masks``, there may be none, or of some pictures; they aren't looked at, nor is what
    ``dataset.yaml`` says of them: there are no classes then.

    Raises:
        DataError: naming the file, the key or the value, what was expected and what to do.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: {'a file; a dataset is a folder' if path.exists() else 'no such folder'}")
    if not masks and not (path / "images").is_dir():
        raise DataError(f"{path}: no folder images/ in it, where pictures are, with what belongs to them in depth/")
    yaml = path / "dataset.yaml"
    description = read_description(yaml, masks=masks) if yaml.is_file() else Description()
    if not masks:
        description = description.model_copy(update=UNMASKED)
    worked_out = "classes and splits are" if masks else "splits are"
    notes = [] if yaml.is_file() else [f"{path} has no dataset.yaml: {worked_out} worked out"]

    files = find_files(path, description, masked=masks)
    if masks and not any(sample.mask for sample in files.values()):
        raise DataError(f"{path / 'masks'}: no mask has the name of a picture in images/")
    splits: dict[str, tuple[str, ...]] = dict(description.splits)
    if not splits:
        if masks:
            _check_pairs(path, files)
        splits = draw_splits(files, description.groups)
        counts = ", ".join(f"{split} {len(stems)}" for split, stems in splits.items())
        by = "groups" if description.groups else "names"
        notes.append(f"no splits are given: drawn by a hash of the {by} ({counts})")
    for shared in overlaps(splits, description.groups):
        for what, names in (("pictures", shared.stems), ("groups", shared.groups)):
            if names:
                between = f"{shared.first!r} and {shared.second!r}"
                notes.append(f"{what} in both {between}: {len(names)}, for example {names[0]}")

    unknown = [stem for stems in description.groups.values() for stem in stems if stem not in files]
    if unknown:
        notes.append(f"groups in dataset.yaml: {len(unknown)} names without a picture, for example {unknown[0]}")

    found = [sample.mask for sample in files.values() if sample.mask is not None]
    coding = find_coding(found, description) if masks else NO_CODING
    return DatasetFolder(
        path=path,
        name=description.name or path.resolve().name,
        task=task_of(description, coding.classes),
        classes=coding.classes,
        background=background_of(description, coding.classes),
        ignore_index=description.ignore_index,
        splits=splits,
        palette=dict(description.palette) or None,
        depth_format=depth_format(description),
        intrinsics=description.intrinsics,
        alignment=alignment_of(description),
        roi=description.roi,
        groups=dict(description.groups),
        notes=(*notes, *coding.notes),
        files=files,
        coding=coding,
    )


def find_files(
    path: Path,
    description: Description,
    listed: Callable[[Path, Sequence[str]], dict[str, Path]] = by_stem,
    *,
    masked: bool = True,
) -> dict[str, Sample]:
    """Return every picture in ``images/`` by stem, with the files of the same stem in the other folders.

    Args:
        path: the dataset's folder.
        description: says what the masks are, and where the regions of interest.
        listed: gives the files with certain suffixes in a folder, by stem.
        masked: whether masks are wanted.
    """
    images = listed(path / "images", (*PICTURES, *VOLUMES, SERIES))
    masks: dict[str, Path] = {}
    if not masked:
        pass
    elif description.task == "multilabel":
        listed_masks = entries(path / "masks")
        masks = {stem_of(entry): entry for entry in listed_masks if entry.is_dir() or suffix_of(entry) == DICOM}
    else:
        masks = listed(path / "masks", (*LOSSLESS, *VOLUMES))
    depth = listed(path / "depth", DEPTHS) if (path / "depth").is_dir() else {}
    roi = {}
    if description.roi:
        if not (path / description.roi).is_dir():
            raise DataError(f"{path / description.roi}: no such folder, but 'roi:' in dataset.yaml names it")
        roi = listed(path / description.roi, (*LOSSLESS, *VOLUMES))
    return {
        stem: Sample(stem, image, masks.get(stem), depth.get(stem), roi.get(stem), is_volume(image))
        for stem, image in images.items()
    }


def depth_format(description: Description) -> DepthFormat | None:
    """Return what a dataset says of its depth files; None where it names no unit."""
    if description.depth_unit is None:
        return None
    invalid = {} if description.depth_invalid is None else {"invalid": description.depth_invalid}
    return DepthFormat(unit=description.depth_unit, focal_baseline=description.depth_focal_baseline, **invalid)


def alignment_of(description: Description) -> Alignment | None:
    """How another camera's depth comes to lie on the pictures; None where none measured it."""
    cameras = description.depth_intrinsics, description.intrinsics
    if description.depth_to_colour is None or cameras[0] is None or cameras[1] is None:
        return None
    return Alignment(depth_camera=cameras[0], colour_camera=cameras[1], motion=description.depth_to_colour)


def _check_pairs(path: Path, files: Mapping[str, Sample]) -> None:
    _refuse([stem for stem, sample in files.items() if sample.mask is None], f"{path}: images/ has {{}} without a mask")


def _refuse(stems: Sequence[str], message: str) -> None:
    if stems:
        more = f" and {len(stems) - 3} more" if len(stems) > 3 else ""
        raise DataError(message.format(", ".join(stems[:3]) + more))
