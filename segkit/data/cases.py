"""Volumes of a dataset as models see them: scaled, with their masks, each read once; and their slices as pictures."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.geometry import Geometry
from segkit.data.masks import IGNORE, Ids, Values, apply_table, class_files, whole_values
from segkit.data.reader import Reader, Window, own_window
from segkit.data.resize import resized
from segkit.data.slices import PLANES, Plane, Slices
from segkit.data.suffixes import DICOM, TIFF, VOLUMES, suffix_of
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.files import writing_to
from segkit.memory import share_of_memory

if TYPE_CHECKING:
    from segkit.data.folder import DatasetFolder, Sample

KEPT = share_of_memory(2 << 30)  # bytes of scaled volumes that are held in memory; further ones lie in files

WHOLE = Slices()
"""How a model that was made for pictures looks at volumes."""


def notes_on_spacing(image: object, reader: Reader) -> tuple[str, ...]:
    """What a user should know of a volume whose slices can't be brought to the spacing that the model was shown."""
    asked = None if reader.slices is None else reader.slices.spacing
    if asked is None or not isinstance(image, Volume) or image.spaced:
        return ()
    return (f"slices are taken as they are, for {asked:g} mm a pixel: nothing says how large the voxels are",)


@dataclass(frozen=True, eq=False)
class Case:
    """A volume as a model sees it.

    Attributes:
        name: of the case, for errors.
        values: float32 [I, J, K, C] in 0..1.
        geometry: where its voxels are.
        reader: the model's.
        spaced: whether millimetres between its voxels are known.
    """

    name: str
    values: NDArray[np.float32]
    geometry: Geometry
    reader: Reader
    spaced: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of its voxels in the file's order as one tall picture: I · J, K and the channels."""
        i, j, k = self.geometry.shape
        return i * j, k, self.values.shape[3]

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres between voxels along I, J and K; None where they aren't known."""
        return self.geometry.spacing if self.spaced else None

    @property
    def slices(self) -> Slices:
        """How it is looked at."""
        return self.reader.slices or WHOLE

    @property
    def planes(self) -> tuple[Plane, ...]:
        """Those of the reader's planes that have more than one pixel each way; of a single slice the one it lies in."""
        flat = [axis for axis, length in enumerate(self.geometry.shape) if length == 1]
        if len(flat) == 1:
            return tuple(plane for plane in PLANES if self.geometry.turn(plane).axes[0] == flat[0])
        return self.slices.planes

    def count(self, plane: Plane) -> int:
        """Slices in a plane."""
        return self.geometry.shape[self.geometry.turn(plane).axes[0]]

    def size(self, plane: Plane) -> tuple[int, int]:
        """Height and width of a plane's slices as the model sees them; without a known spacing as they are."""
        _, *rows_and_columns = self.geometry.turn(plane).axes
        height, width = (self.geometry.shape[axis] for axis in rows_and_columns)
        if self.slices.spacing is None or not self.spaced:
            return height, width
        down, across = (self.geometry.spacing[axis] / self.slices.spacing for axis in rows_and_columns)
        return max(1, round(height * down)), max(1, round(width * across))

    def picture(self, plane: Plane, index: int) -> NDArray[np.float32]:
        """A slice with its neighbours, float32 [H, W, channels] of the reader's channels and spacing.

        Raises:
            DataError: their number is not what the model takes.
        """
        stack = self.geometry.turn(plane).of(self.values)
        beside = self.slices.neighbours
        numbers = np.clip(np.arange(index - beside, index + beside + 1), 0, len(stack) - 1)
        shown = np.concatenate([stack[number] for number in numbers], axis=-1)
        picture = np.ascontiguousarray(self._channels(shown))
        size = self.size(plane)
        return picture if size == picture.shape[:2] else resized(picture, size).astype(np.float32, copy=False)

    def _channels(self, shown: NDArray[np.float32]) -> NDArray[np.float32]:
        found, wanted = shown.shape[-1], self.reader.channels
        if found == wanted:
            return shown
        if found == 1 and wanted == 3:
            return np.repeat(shown, 3, axis=-1)
        each = f", {self.slices.shown} slices at a time" if self.slices.neighbours else ""
        raise DataError(
            f"{self.name}: {self.values.shape[-1]} channel{'s' * (self.values.shape[-1] > 1)}{each}: {found} in all; "
            f"the model takes {wanted}"
        )


def case_of(volume: Volume, reader: Reader) -> Case:
    """A volume as a reader's model sees it: each channel by the reader's window over the whole of it.

    Raises:
        DataError: its values don't fit the window.
    """
    scaled = np.empty(volume.values.shape, np.float32)
    for channel in range(volume.channels):
        values = volume.values[..., channel]
        window = reader.window
        if window == "picture":
            window = own_window(values)
        elif window == "file":
            window = volume.voi
        if window is None and reader.window is not None:
            raise DataError(f"{_called(volume)}: names no window to be shown by, which the model is shown its files by")
        try:
            scaled[..., channel] = reader.model_copy(update={"window": window}).scale(values)
        except ValueError as error:
            raise DataError(f"{_called(volume)}: {error}") from error
    return Case(_called(volume), scaled, volume.geometry, reader, volume.spaced)


def _called(volume: Volume) -> str:
    """What errors call a volume: its file, or the folder and which of the series there it is."""
    return f"{volume.path} ({volume.name})" if volume.path is not None and volume.path.is_dir() else str(volume.path)


class Cases:
    """The volumes of one dataset.

    Those whose slices are asked for are read once; beyond some memory they lie in files that go with this object. Of
    whole volumes the last one is held.

    Several threads may ask it at a time; they get one volume after the other.
    """

    def __init__(self, folder: "DatasetFolder") -> None:
        self._folder = folder
        self._lock = RLock()
        self._last: tuple[Path, Volume] | None = None
        self._last_case: tuple[tuple[Path, Window | None], Case] | None = None
        self._grids: dict[Path, tuple[Geometry, bool]] = {}  # and whether the file says where that is
        self._cases: dict[tuple[Path, Window | None], Case] = {}
        self._masks: dict[tuple[Path, bool], Ids] = {}
        self._taken = 0

    def __reduce__(self) -> "tuple[type[Cases], tuple[DatasetFolder]]":
        """Without what was read: another process reads what it needs."""
        return Cases, (self._folder,)

    def volume(self, sample: "Sample") -> Volume:
        """A sample's volume as its file has it. The one read last is held: its case or mask is asked for next."""
        from segkit.medical.reading import read_volume

        with self._lock:
            if self._last is None or self._last[0] != sample.image:
                self._last = sample.image, read_volume(sample.image)
                self._grids[sample.image] = self._last[1].geometry, self._last[1].located
            return self._last[1]

    def case(self, sample: "Sample", reader: Reader) -> Case:
        """A sample's volume, whole, as a reader's model sees it. The one asked for last is held."""
        key = (sample.image, reader.window)
        with self._lock:
            if key in self._cases:
                return replace(self._cases[key], reader=reader)
            if self._last_case is None or self._last_case[0] != key:
                self._last_case = None  # before there is another
                self._last_case = key, case_of(self.volume(sample), reader)
            return replace(self._last_case[1], reader=reader)

    def _kept_case(self, sample: "Sample", reader: Reader) -> Case:
        """The same of a sample whose slices will be asked for one by one, in any order."""
        key = (sample.image, reader.window)
        with self._lock:
            if key not in self._cases:
                found = case_of(self.volume(sample), reader)
                self._cases[key] = replace(found, values=self._kept(found.values))
            return replace(self._cases[key], reader=reader)

    def picture(self, sample: "Sample", reader: Reader) -> NDArray[np.float32]:
        """A slice as a reader's model sees it: float32 [H, W, channels] in 0..1."""
        assert sample.plane is not None
        return self._kept_case(sample, reader).picture(sample.plane, sample.index)

    def slices(self, samples: "Sequence[Sample]", reader: Reader) -> "list[Sample]":
        """Pictures as they are, and of each volume all slices of the reader's planes."""
        found = []
        for sample in samples:
            if not sample.volume or sample.plane is not None:
                found.append(sample)
                continue
            case = self._kept_case(sample, reader)
            for plane in case.planes:
                for index in range(case.count(plane)):
                    name = f"{sample.name}_{plane}_{index:03d}"
                    found.append(replace(sample, name=name, plane=plane, index=index, case=sample.name))
        return found

    def mask(self, sample: "Sample", *, inside_roi: bool = True) -> Ids:
        """Class ids of a volume on its own grid, [I, J, K], or of a slice, [H, W]; 255 = ignore.

        For multilabel 0, 1 or 255, [K, I, J, K] or [K, H, W].

        Raises:
            DataError: the mask is missing, unreadable, on another grid, or holds values that are no class.
        """
        key = (sample.image, inside_roi)
        with self._lock:
            if sample.plane is None:
                return self._masks[key] if key in self._masks else self._read_mask(sample, inside_roi)
            if key not in self._masks:
                self._masks[key] = self._kept(self._read_mask(sample, inside_roi))
            ids, (geometry, _) = self._masks[key], self._grid(sample)
        turn = geometry.turn(sample.plane)
        if ids.ndim == 3:
            return np.ascontiguousarray(turn.of(ids)[sample.index])
        return np.stack([turn.of(each)[sample.index] for each in ids])

    def _read_mask(self, sample: "Sample", inside_roi: bool) -> Ids:
        folder = self._folder
        if sample.mask is None:
            raise DataError(f"{folder.path}: {sample.name} has no mask")
        if suffix_of(sample.mask) == DICOM:
            from segkit.medical.dicom_seg_read import read_seg

            volume = self.volume(sample)
            ids = read_seg(sample.mask, volume, folder.classes, task=folder.task, background=folder.background).labels
        elif sample.mask.is_dir():
            files = class_files(sample.mask, folder.classes)
            ids = np.stack([self._ids(file, sample, folder.coding.table, 2) for file in files])
        else:
            ids = self._ids(sample.mask, sample, folder.coding.table, len(folder.classes))
        if sample.roi is not None and inside_roi:
            inside = on_grid(sample.roi, sample.image, *self._grid(sample)) > 0
            ids = np.where(inside, ids, np.uint8(IGNORE))
        return ids

    def _ids(self, file: Path, sample: "Sample", table: Ids, classes: int) -> Ids:
        values = on_grid(file, sample.image, *self._grid(sample))
        flat = apply_table(values.reshape(-1, values.shape[-1]), table, file, classes)
        return flat.reshape(values.shape)

    def _grid(self, sample: "Sample") -> tuple[Geometry, bool]:
        if sample.image not in self._grids:
            self.volume(sample)
        return self._grids[sample.image]

    def _kept(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values, in a file where there are many already."""
        if self._taken + values.nbytes <= KEPT:
            self._taken += values.nbytes
            return values
        with writing_to(tempfile.gettempdir()), tempfile.TemporaryFile(prefix="segkit-volumes-") as file:
            np.ascontiguousarray(values).tofile(file)
            file.flush()
            return np.memmap(file, values.dtype, "r", shape=values.shape)  # goes with the array, however that ends


def difference_from(mask: Volume, geometry: Geometry, *, located: bool) -> str | None:
    """In words, how a mask lies on another grid than its picture; None where it lies there.

    Where neither says where it is, and the mask not even how far apart its voxels are, only their number can differ.
    """
    silent = not located and not mask.located and not mask.spaced
    alike = mask.geometry.shape == geometry.shape and mask.geometry.orientation == geometry.orientation
    if silent and alike:
        return None
    return geometry.difference(mask.geometry)


def on_grid(file: Path, image: Path, geometry: Geometry, located: bool = True) -> Values:
    """The whole numbers [I, J, K] of a mask's file that lies on its picture's grid; see :func:`difference_from`.

    Raises:
        DataError: it doesn't, or holds fractions or channels.
    """
    from segkit.medical.reading import read_volume

    if suffix_of(image) == DICOM and suffix_of(file) not in (*VOLUMES, *TIFF):
        raise DataError(f"{file}: masks of DICOM images are DICOM segmentations, or volumes such as NIfTI")
    mask = read_volume(file)
    difference = difference_from(mask, geometry, located=located)
    if difference is not None:
        raise DataError(
            f"{file}: not on the grid of its picture {image.name}: {difference}; resample it to the picture, "
            "by nearest neighbours"
        )
    if mask.channels != 1:
        raise DataError(f"{file}: the mask has {mask.channels} channels; export class ids, one channel")
    return whole_values(mask.values, file)
