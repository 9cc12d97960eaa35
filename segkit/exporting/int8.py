"""Eight-bit arithmetic for an exported graph: ranges chosen by pictures, and what it costs on other ones."""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.model_input import check_modality, read_input
from segkit.data.reader import PICTURES
from segkit.ensemble import Ensemble
from segkit.errors import DataError
from segkit.evaluation.metrics import SegmentationMetrics
from segkit.model import Segmenter
from segkit.onnx_model import DEPTH, IMAGE, OnnxModel
from segkit.prediction.of_sample import check_fit, predict_sample
from segkit.prediction.prediction import Prediction
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import kept_settings

SIDE = 512  # of what is cut from a picture's middle to choose ranges by, where the model keeps no tile
ROUNDS = 5  # timings of each, taking turns


@dataclass(frozen=True)
class Pictures:
    """Pictures for int8.

    Attributes:
        calibration: what the ranges are chosen by.
        held_out: what the cost is measured on, none of them among the first.
        dataset: where the truth of the held-out ones is, if they are a dataset's.
        depth: whether the model takes a second modality, which is there too.
    """

    calibration: list[Path]
    held_out: list[Path]
    dataset: DatasetFolder | None = None
    depth: bool = False

    def sample(self, path: Path) -> Sample:
        """The dataset's sample of a picture."""
        assert self.dataset is not None
        return next(sample for sample in self.dataset.files.values() if sample.image == path)


@dataclass(frozen=True)
class Cost:
    """What int8 costs and saves.

    Attributes:
        pictures: how many it was measured on.
        truth: ``masks``, or ``fp32`` where there are none: the labels of the file in float32 are then the truth.
        score: name of the score.
        fp32, int8: that score of each, NaN where it is undefined; 1 for fp32 where its own labels are the truth.
        fp32_seconds, int8_seconds: median time of one tile.
    """

    pictures: int
    truth: str
    score: str
    fp32: float
    int8: float
    fp32_seconds: float
    int8_seconds: float


def pictures_for(folder: Path, count: int, model: Segmenter | Ensemble) -> Pictures:
    """Pictures to choose ranges by and others to measure on, at most ``count`` of each, evenly spread.

    Of a dataset the first come from the split ``train``, the others from ``test``, or ``val`` where there is no test.
    Of a plain folder every second picture is held out. For a model with a second modality the folder is a dataset, and
    the first are pictures with one: of those without, nothing could be learnt about its ranges.

    Raises:
        DataError: fewer than two pictures, a dataset without both splits, or no second modality for a model that takes
            one.
        ModelError: a dataset of other classes than the model.
    """
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        dataset = open_dataset(folder)
        check_fit(model, dataset)
        held_out = "test" if dataset.splits.get("test") else "val"
        if not dataset.splits.get("train") or not dataset.splits.get(held_out):
            raise DataError(
                f"{folder}: int8 needs pictures in the split train, to choose ranges by, and in test or val, to "
                "measure on; a plain folder of pictures does, too"
            )
        train = dataset.samples("train")
        if model.reader.depth_channels:
            train = [sample for sample in train if sample.depth is not None]
            if not train:
                raise DataError(
                    f"{folder}: no picture of the split train has depth, and int8 needs it to choose ranges"
                )
            check_modality(dataset, model.reader)
        first, second = _spread(train, count), _spread(dataset.samples(held_out), count)
        return Pictures(
            [sample.image for sample in first],
            [sample.image for sample in second],
            dataset,
            bool(model.reader.depth_channels),
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; int8 needs a folder of pictures like those to come, or a dataset")
    if model.reader.depth_channels:
        raise DataError(f"{folder}: the model takes depth, so int8 needs a dataset with images/, masks/ and depth/")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.name[0] != ".")
    if len(found) < 2:
        raise DataError(f"{folder}: {len(found)} pictures; int8 needs two or more, to choose by and to measure on")
    return Pictures(_spread(found[::2], count), _spread(found[1::2], count))


def quantised(graph: Any, pictures: Pictures, model: OnnxModel) -> Any:
    """The graph (``onnx.ModelProto``) with convolutions and matrix products in eight bits, weights scaled per channel.

    Ranges are the smallest and largest values seen. The layers that give the logits stay in float32: of the whole
    network their rounding alone can't be made up for by later ones.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Calibration(CalibrationDataReader):  # type: ignore[misc]  # the library has no hints
        def __init__(self) -> None:
            self._inputs = inputs_of(pictures.calibration, pictures, model)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._inputs, None)

    with tempfile.TemporaryDirectory() as folder, _without_advice():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            graph,
            path,
            Calibration(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose", "Gemm", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=last_layers(graph),
        )
        return onnx.load(path)


@contextmanager
def _without_advice() -> Iterator[None]:
    """ONNX Runtime advises, by the root logger, to optimise a graph first; the export has done so."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def last_layers(graph: Any) -> list[str]:
    """Names of the nodes whose logits no other convolution or matrix product reads, back from the output."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    seen, found, waiting = set(), [], [value.name for value in graph.graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            found.append(node.name)
        else:
            waiting.extend(node.input)
    return found


def inputs_of(paths: Sequence[Path], pictures: Pictures, model: OnnxModel) -> Iterator[dict[str, NDArray[np.float32]]]:
    """What the graph is given of the middle of each picture: the image, and depth [1, h, w, C + 1] if it is taken."""
    if pictures.dataset is None or not pictures.depth:
        for image in images_of(paths, model):
            yield {IMAGE: image}
        return
    channels = model.reader.channels
    for path in paths:
        given = read_input(pictures.dataset, pictures.sample(path), model.reader)
        assert isinstance(given, np.ndarray)  # no volume
        both = _middle(given, model)[None]
        image, depth = both[..., :channels].transpose(0, 3, 1, 2), both[..., channels:]
        yield {IMAGE: np.ascontiguousarray(image), DEPTH: np.ascontiguousarray(depth)}


def images_of(paths: Sequence[Path], model: OnnxModel) -> Iterator[NDArray[np.float32]]:
    """The middle of each picture, a tile large, float32 [1, C, h, w] in 0..1; all where the model takes it whole."""
    for path in paths:
        yield np.ascontiguousarray(_middle(model.reader.read(path), model).transpose(2, 0, 1)[None])


def _middle(picture: NDArray[np.float32], model: OnnxModel) -> NDArray[np.float32]:
    """Of [H, W, C] the middle, a tile large; all where the model takes it whole."""
    if model.takes_whole_images:
        return picture
    tile = kept_settings(model).tile or SIDE
    top, left = (max(0, (side - tile) // 2) for side in picture.shape[:2])
    return picture[top : top + tile, left : left + tile]


def cost_of(exact: OnnxModel, small: OnnxModel, pictures: Pictures) -> Cost:
    """What int8 costs on the held-out pictures, predicted by the settings kept with the model, but of one view."""
    scores = [SegmentationMetrics(exact.classes, exact.task, exact.background) for _ in range(2)]
    predictors = [Predictor(model, tta=None) for model in (exact, small)]
    for path in pictures.held_out:
        labels = [_predicted(predictor, path, pictures).labels for predictor in predictors]
        truth = labels[0]
        if pictures.dataset is not None:  # at the resolution that the model takes
            truth = pictures.dataset.read_mask(pictures.sample(path), truth.shape[-2:])
        for score, found in zip(scores, labels, strict=True):
            score.update(path.name, found, truth)
    nothing = 1.0 if pictures.dataset is None else float("nan")  # of labels that agree that nothing is there
    (first, name), (second, _) = (_headline(score, nothing) for score in scores)
    inputs = next(inputs_of(pictures.held_out, pictures, exact))
    image = torch.from_numpy(inputs[IMAGE])
    depth = torch.from_numpy(inputs[DEPTH]).permute(0, 3, 1, 2) if DEPTH in inputs else None
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for model, taken in zip((exact, small), times, strict=True):
            start = time.perf_counter()
            model.probabilities(image, depth)
            taken.append(time.perf_counter() - start)
    return Cost(
        pictures=len(pictures.held_out),
        truth="fp32" if pictures.dataset is None else "masks",
        score=name,
        fp32=first,
        int8=second,
        fp32_seconds=median(times[0]),
        int8_seconds=median(times[1]),
    )


def _predicted(predictor: Predictor, path: Path, pictures: Pictures) -> Prediction:
    if pictures.dataset is None or not pictures.depth:
        return predictor.predict(path)
    return predict_sample(predictor, pictures.dataset, pictures.sample(path))


def _headline(scores: SegmentationMetrics, nothing: float) -> tuple[float, str]:
    """One pooled Dice, and its name: the foreground's, or the mean over the classes that aren't background."""
    pooled = scores.compute()["pooled"]
    if scores.task == "binary":
        name = scores.classes[1]
        found = pooled["per_class"][name]["dice"]
        return (nothing if found is None else found), f"Dice of {name}"
    key = "mean_dice" if scores.background is None else "mean_dice_without_background"
    found = pooled[key]
    return (nothing if found is None else found), key.replace("_", " ").replace("dice", "Dice")


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` of the items, evenly spread."""
    return list(items[:: -(-len(items) // count)])
