"""Predictor: a trained model applied to images of any size, one or many."""

import copy
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.allocator import reused_memory
from segkit.artifact import check_draws_masks, load_segmentation
from segkit.backbones.linear import has_onednn
from segkit.data.cases import Case, case_of
from segkit.data.claims import LIMIT
from segkit.data.depth_encoding import DepthEncoding
from segkit.data.depth_format import DepthFormat
from segkit.data.description import MOST_CLASSES
from segkit.data.picture import Picture
from segkit.data.reader import Pixels
from segkit.data.scaled import scaled
from segkit.data.volume import Volume
from segkit.devices import device_for, named_device
from segkit.drawing.palette import default_palette
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.folding import probe_of
from segkit.given_path import given_path
from segkit.model import Segmenter
from segkit.postprocessing.settings import Postprocessing
from segkit.postprocessing.targets import of_picture
from segkit.prediction.arrays import blendable, collect
from segkit.prediction.at_once import AtOnce
from segkit.prediction.computing import (
    AUTOCAST,
    batch_for,
    computed_precision,
    exported_precision,
)
from segkit.prediction.depth import Given, Measured, depth_of, notes_on, notes_on_alignment, rows_with
from segkit.prediction.fingerprint import model_digest
from segkit.prediction.fitting_in import fitting_in
from segkit.prediction.labelling import Labelling
from segkit.prediction.many import Outcome, predict_files
from segkit.prediction.npy import as_file, npy_of, replaceable
from segkit.prediction.offloaded import Offloaded
from segkit.prediction.opening import as_pixels, at_resolution, opened
from segkit.prediction.prediction import Prediction
from segkit.prediction.prepared import channels_last, compiled, prepared
from segkit.prediction.protocol import Model
from segkit.prediction.settings import Kept, checked_settings, is_kept, settings_for
from segkit.prediction.stream import predict_stream
from segkit.prediction.sweep import Sweep
from segkit.prediction.volume_maps import tall_scaled
from segkit.prediction.writers import output_folder
from segkit.sections import Precision
from segkit.trusting.verdict import Judge, kept_judge, settings_of
from segkit.tta import TTA

if TYPE_CHECKING:
    from segkit.prediction.volume_prediction import VolumePrediction

__all__ = ["Outcome", "Precision", "Prediction", "Predictor"]


class Predictor:
    """Predict images of any size, in overlapping tiles where they are larger than ``tile``.

    ``"kept"``, the default of every setting, is what is kept with the model, or else the recipe's default, just as on
    the command line.

    Args:
        model: a ``Segmenter`` or an ``Ensemble``, which is moved to ``device`` and else left as it is; or where one is
            saved, as :func:`segkit.load` takes it: that is made ready in place, without a second set of weights.
        tile: side of the tiles in pixels; None: every image in one piece, as models with an ``input_size`` need it.
        overlap: share of a tile in common with the next, 0 up to, but not including, 1.
        tta: views of each tile that are averaged, each at the cost of one more pass: ``"mirror"`` (left-right, two),
            ``"flip"`` (upside down too, four), ``"d4"`` (quarter turns too, eight), further scales (``"0.75,1.25"``),
            or both (``"flip,0.75,1.25"``).
        precision: ``auto`` is bf16 where the processor or GPU computes it natively, and fp32 otherwise; ``fp32`` gives
            what the model says to the last digits.
        postprocess: what is done to labels before they are handed on, as a recipe may have it, too; None: nothing.
        batch: tiles per forward pass; None: as many as keep the device busy. It is halved, for good, where the GPU's
            memory doesn't hold them.
        device: by default where the model is, or the first GPU where the model is on the CPU and there is a GPU.
        limit: bytes that may be decoded at once; see :func:`segkit.data.picture.open_picture`.
        compile: translate the model to machine code (``torch.compile``) in the first pass, which takes from some
            seconds to a minute; each further size of a tile takes it again. Models of convolutions are then about a
            quarter sooner on a CPU, Swin isn't.
        offload: keep one member of an ensemble on the device at a time, the others in main memory: for ensembles that
            the device doesn't hold. Every member goes to the device once a row of tiles and view; over a bus of
            16 GB/s, 100 MB of weights take 6 ms.

    Attributes:
        prepared: the model made ready for the precision, BatchNorm folded: a copy, unless it was loaded here or there
            is nothing to do. After changes to the model's weights make another predictor. It leaves out an ensemble's
            ``temperature``.
        model_digest: of the model as it was loaded; None where it was given, and may still change.
        judge: what predictions are judged by; None where the model wasn't taught that, or not for these settings.
        unjudged: why not, where it was taught.
        temperature: what blended probabilities of the whole are then tempered by; 1 for a single model.

    Raises:
        UsageError: no model of this toolkit; a value outside its range; ``compile`` without a compiler, or of a model
            that has no weights here.
        ModelError: the settings kept with the model are damaged; there is no model at the path, or one that draws no
            masks.
        RecipeError: the postprocessing names a class that the model doesn't have.
    """

    def __init__(
        self,
        model: Model | str | Path,
        *,
        tile: int | Kept | None = "kept",
        overlap: float | Kept = "kept",
        tta: TTA | Kept = "kept",
        precision: Precision | Kept = "kept",
        postprocess: Postprocessing | Mapping[str, Any] | Kept | None = "kept",
        batch: int | None = None,
        device: str | torch.device | None = None,
        limit: int = LIMIT,
        compile: bool = False,
        offload: bool = False,
    ) -> None:
        loaded = isinstance(model, str | Path)
        if isinstance(model, str | Path):
            model = cast("Model", load_segmentation(given_path(model, "model")))
        check_draws_masks(model)
        if model.task == "multiclass" and model.maps > MOST_CLASSES:
            raise UsageError(f"this model has {model.maps} classes; a mask holds {MOST_CLASSES} at most")
        if offload and (not isinstance(model, Ensemble) or compile):
            what = "compile keeps the model on the device" if compile else "this model is a single one"
            raise UsageError(f"offload: {what}; it is for ensembles alone")
        settings = checked_settings(
            model, tile=tile, overlap=overlap, tta=tta, precision=precision, postprocess=postprocess
        )
        self.postprocess = settings.postprocess
        self.tile, self.overlap, self.tta = settings.tile, settings.overlap, settings.tta
        self.threshold, self.limit = settings.threshold, limit
        self.judge: Judge | None = None
        self.unjudged: str | None = None
        try:
            self.judge = kept_judge(getattr(model, "about", {}))
        except ModelError as error:
            self.unjudged = str(error)
        if self.judge is not None:
            self.unjudged = self.judge.unfit(settings_of(settings), disagrees=model.disagrees)
            self.judge = None if self.unjudged else self.judge
        if type(limit) is not int or limit < 1:
            raise UsageError(f"limit={limit!r}: expected a number of bytes, 1 or more")
        self.device = named_device(device) if device is not None else device_for(model)
        self.precision = exported_precision(model, precision) or computed_precision(settings.precision, self.device)
        self._last_case: tuple[Path, VolumePrediction] | None = None
        self._batches = AtOnce(batch_for(self.device, self.tile) if batch is None else batch)
        self._sweep = Sweep(
            model=model,
            device=self.device,
            precision=self.precision,
            tile=self.tile,
            overlap=self.overlap,
            tta=self.tta,
            batches=self._batches,
            own_batch=batch is None,
            whole_rows=offload,
        )
        self.model = model
        self.model_digest = model_digest(model) if loaded else None
        self.offload = offload
        home = torch.device("cpu") if offload else self.device
        with fitting_in(f"device={home}", lambda: ", which the model alone fills; take another, or offload"):
            model.to(home)
        channels_last(model)
        probe = probe_of(model.reader, home)
        low, packs = AUTOCAST.get(self.precision), has_onednn(self.device) and not compile
        self.prepared = prepared(model, lambda ready: ready.statistics(probe), low, packs=packs, in_place=loaded)
        # An ensemble's temperature comes after the blend: before it, it might change labels where tiles differ.
        self.temperature: float = getattr(model, "temperature", 1.0)
        if self.temperature != 1:
            self.prepared = copy.copy(self.prepared)  # the model itself keeps its own
            vars(self.prepared)["temperature"] = 1.0
        self._statistics = compiled(self.prepared) if compile else self.prepared.statistics
        if offload:
            self._statistics = Offloaded(cast("Ensemble", self.prepared), self.device, self._batches).statistics

    @property
    def encodings(self) -> list[tuple[DepthEncoding, tuple[int, int] | None]]:
        """What is made of depth, or of another second modality, by the model or its members.

        Behind each the size that pictures are brought to before, and metres of depth zoomed with them; None where
        values stay as they are.
        """
        modules = self.model.modules() if isinstance(self.model, nn.Module) else ()
        members = [module for module in modules if isinstance(module, Segmenter)]
        return [
            (member.encoding, member.input_size if member.reader.metric else None)
            for member in members
            if member.encoding is not None
        ]

    @property
    def batch(self) -> int:
        """Tiles per forward pass."""
        return self._batches.size

    @reused_memory()
    def predict(
        self,
        source: str | Path | Pixels | Picture | Volume,
        out: str | Path | None = None,
        *,
        depth: Given | None = None,
        depth_format: DepthFormat | None = None,
        mpp: float | None = None,
        threshold: float | Kept = "kept",
    ) -> Prediction:
        """Predict one image, or one volume: what comes back of that is a
        :class:`segkit.prediction.volume_prediction.VolumePrediction`, with [I, J, K] in the place of [H, W].

        Args:
            source: a picture's path, the picture opened by :func:`segkit.data.picture.open_picture`, or its pixels
                [H, W] or [H, W, C], RGB: uint8, uint16, or float in 0..1; a volume's path (NIfTI, NRRD, MetaImage,
                DICOM or the folder of one DICOM series, a TIFF of several pages), or the volume as
                :func:`segkit.medical.reading.read_volume` gives it.
            out: a folder for the result's arrays as ``STEM_labels.npy``, ``STEM_probabilities.npy`` and so on: they are
                then written by rows and given as memory maps, so that a large TIFF, or an array that is itself a memory
                map, takes the memory of some rows of tiles, whatever its height. A volume is always held.
            depth: depth, or the second modality that the model takes: a PNG, TIFF or NPY file, or an array [H, W] or
                [H, W, C] of what such a file would hold, on the image's pixels. A model that takes one works without.
            depth_format: what its values mean; by default what they meant in training.
            mpp: microns per pixel that the picture has, a slide at full resolution; by default what its file says. A
                model trained at a resolution (``data.mpp``) is given the picture at that, and the result has its size.
            threshold: probability from which a pixel of a binary or multilabel task is labelled 1, whatever thresholds
                the postprocessing has; by default as is kept with the model.

        Raises:
            DataError: the picture or its depth can't be read, or doesn't fit the model's reader.
            ModelError: the model gives values that are not finite.
            UsageError: out of memory, an ``out`` that can't be written into, or depth for a model of images alone.
            RecipeError: the postprocessing has sizes in mm, but nothing says how large pixels are.
        """
        labelling, reader = self.labelling(threshold), self.model.reader
        if isinstance(source, str | Path):
            source = opened(given_path(source, "source"), self.limit, reader, mpp)
        elif not isinstance(source, Volume):
            source = at_resolution(source if isinstance(source, Picture) else as_pixels(source), reader, mpp)
        if isinstance(source, Volume):
            for name, given_too in (("depth", depth), ("mpp", mpp)):
                if given_too is not None:
                    raise UsageError(f"{name}: is of pictures; leave it out for a volume")
            return self._predict_volume(source, out, labelling)
        path = source.path if isinstance(source, Picture) else None
        name = path.stem if path is not None else "image"
        folder = output_folder(out) if out is not None else None
        image = scaled(source, reader, str(path or name))
        second = depth_of(depth, reader, image.size, path, depth_format, self.limit)
        spacing = of_picture(source.mpp if isinstance(source, Picture) else None, reader.mpp)
        labelling.check(str(path or name), image.size, spacing)
        given = rows_with(image.rows, second, reader, image.size[1])
        rows = self._sweep.picture(self._blendable, given, image.size)
        arrays = self._collected(rows, image.size, name, path, labelling, folder)
        keep = None if folder is None else partial(npy_of, path=folder / f"{name}_labels.npy")
        maps, labels = arrays["probabilities"], replaceable(arrays.pop("labels"))
        arrays["labels"] = labelling.labels(maps, labels, self.model, spacing=spacing, keep=keep)
        found: dict[str, Any] = {"disagreement": None, **arrays}
        notes = () if second is None else notes_on(second, self.encodings)
        notes += () if second is None or isinstance(depth, Measured) else notes_on_alignment(self.model)
        about = self._about(name, path, labelling)
        return Prediction(**found, **about, scaled=image, depth=second, depth_notes=notes)

    def predict_case(self, path: Path) -> "VolumePrediction":
        """Predict a volume; asked for the same again, as for each of its slices, what was found before is given."""
        last = self._last_case  # of another thread it may be another in a moment
        if last is None or last[0] != path:
            last = self._last_case = path, cast("VolumePrediction", self.predict(path))
        return last[1]

    def _predict_volume(self, volume: Volume, out: str | Path | None, labelling: Labelling) -> "VolumePrediction":
        from segkit.prediction.volume_prediction import VolumePrediction

        case, shape = case_of(volume, self.model.reader), volume.geometry.shape
        folder = output_folder(out) if out is not None else None
        size = (shape[0] * shape[1], shape[2])
        spacing = volume.geometry.spacing if volume.spaced else None
        labelling.check(str(volume.path or volume.name), shape, spacing)
        rows = self._sweep.volume(self._blendable, case)
        arrays = self._collected(rows, size, volume.name, volume.path, labelling, None)
        whole: dict[str, Any] = {key: maps.reshape(*maps.shape[:-2], *shape) for key, maps in arrays.items()}
        whole["labels"] = labelling.labels(whole["probabilities"], whole["labels"], self.model, spacing=spacing)
        if folder is not None:
            whole = {key: as_file(folder / f"{volume.name}_{key}.npy", maps) for key, maps in whole.items()}
        return VolumePrediction(
            **{"disagreement": None, **whole},
            **self._about(volume.name, volume.path, labelling),
            scaled=tall_scaled(case),
            volume=volume,
            case=case,
            made_by=str(getattr(self.model, "about", {}).get("trained_on", {}).get("recipe", "model")),
            digest=self.model_digest,
            members=len(self.model.members) if isinstance(self.model, Ensemble) else 1,
        )

    def _collected(
        self,
        rows: Generator[NDArray[np.float32], None, None],
        size: tuple[int, int],
        name: str,
        path: Path | None,
        labelling: Labelling,
        out: Path | None,
    ) -> dict[str, NDArray[Any]]:
        """The arrays of a prediction, of rows of what is blendable; a single model's disagreement isn't among them."""
        task, maps = self.model.task, self.model.maps
        with fitting_in(str(path or name), self._smaller), closing(rows):
            return collect(
                rows,
                size,
                task=task,
                maps=maps,
                temperature=self.temperature,
                threshold=labelling.threshold,
                name=name,
                out=out,
            )

    def _smaller(self) -> str:
        """What takes less memory."""
        return f" with tile={self.tile} and batch={self.batch}; take less of either"

    def _about(self, name: str, path: Path | None, labelling: Labelling) -> dict[str, Any]:
        """What a prediction says beside its arrays."""
        model = self.model
        return {
            "name": name,
            "classes": tuple(model.classes),
            "task": model.task,
            "background": 0 if model.task == "binary" else model.background,
            "palette": default_palette(model.task, model.maps, model.background),
            "source": path,
            "judge": self.judge if labelling == self.labelling() else None,
        }

    predict_files = predict_files
    stream = predict_stream

    def labelling(self, threshold: float | Kept = "kept") -> Labelling:
        """How labels come of probabilities: as is kept with the model, or at a threshold.

        Raises:
            UsageError: a threshold outside 0..1, or of a multiclass model, which has none.
        """
        own = Labelling(self.threshold, self.postprocess)
        if is_kept(threshold):
            return own
        if self.model.task == "multiclass":
            raise UsageError(
                f"threshold={threshold}: this model gives each pixel its most probable class; leave it out"
            )
        return own.at(settings_for(self.model, threshold=threshold).threshold)

    def rows(
        self, function: Callable[[Tensor], Tensor], image: NDArray[np.float32] | Case
    ) -> Generator[NDArray[np.float32], None, None]:
        """Maps of an image [H, W, C] in 0..1 by this predictor's settings, from the top down, each float32 [C', h, W].

        Behind the image's channels are those of the second modality, where the model takes one. Of a volume [I, J, K]
        they are those of one tall picture, [C', h, K] of I · J rows.

        ``function`` is any question to ``prepared`` (or to the model itself), tiles [b, C, h, w] → [b, C', h, w]; it is
        asked on the predictor's device and in its precision, in evaluation mode.

        Raises:
            UsageError: with ``offload``, because the members aren't there to be asked; out of memory.
        """
        if self.offload:
            raise UsageError("offload: members are moved for predictions alone; leave it out")
        if isinstance(image, Case):
            return self._told(self._sweep.volume(function, image))
        ordered = np.ascontiguousarray(image)  # tensors have no negative strides, such as those of image[::-1]
        size = image.shape[0], image.shape[1]
        return self._told(self._sweep.picture(function, lambda top, bottom: ordered[top:bottom], size))

    def _told(self, rows: Generator[NDArray[np.float32], None, None]) -> Generator[NDArray[np.float32], None, None]:
        with fitting_in("the image", self._smaller), closing(rows):
            yield from rows

    def _blendable(self, tiles: Tensor) -> Tensor:
        return blendable(self._statistics(tiles))
