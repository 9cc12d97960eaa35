"""An .onnx file of ``segkit export``, run by ONNX Runtime: it answers what a ``Segmenter`` does."""

import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from segkit.data.reader import Reader
from segkit.errors import ModelError, UsageError
from segkit.one_line import one_line, why_missing
from segkit.statistics import PixelStatistics, entropy, tempered
from segkit.task import Task, output_maps
from segkit.tensor_checks import check_depth

if TYPE_CHECKING:
    import onnx
    import onnxruntime

FORMAT = 2
KEY = "segkit"  # of the description among an ONNX file's metadata
PIXELS, IMAGE, DEPTH, PROBABILITIES = "pixels", "image", "depth", "probabilities"
"""Names in the graph: its input, the same after the reader's scaling, its second input, if any, and its output."""
BLENDABLE = "blendable"  # probabilities before an ensemble's temperature: what tiles and views are averaged of

PixelType = Literal["uint8", "uint16", "float32"]


class Agreement(BaseModel):
    """How far an exported file was from PyTorch when it was made.

    Attributes:
        sizes: (batch, height, width) of the random pictures it was tried on.
        difference: the largest difference of any two probabilities.
    """

    model_config = ConfigDict(extra="forbid")
    sizes: list[tuple[int, int, int]]
    difference: float


class ExportDescription(BaseModel):
    """What an exported file knows of itself.

    Attributes:
        format: version of this description.
        segkit, torch: versions of the programs that wrote it.
        opset: of the ONNX operators; None for a program of torch.export.
        kind: what was exported; an ensemble is one graph, and gives its weighted mean.
        task, classes, background, reader: as the model has them.
        pixels: type of the values that go in.
        depth: what goes in as ``depth``, float32 [batch, height, width, values + 1] as
            :func:`segkit.data.depth.read_depth` gives it: metres, or the values of the files. 0 where not measured,
            and behind them 1 where measured and 0 where not; all 0 for a picture without. None: the file takes images
            alone.
        whole_images: whether a piece of an image would be taken for an image of its own.
        precision: of the computation.
        temperature: an ensemble's, at which its probabilities are given.
        members: SHA-256 of each member's tensors, as the saved model's ``segkit.json`` has it.
        about: what is kept with the model, such as the settings of prediction.
        agreement: with PyTorch.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    segkit: str
    torch: str
    opset: int | None
    kind: Literal["segmenter", "ensemble"]
    task: Task
    classes: list[str] = Field(min_length=1)
    background: int | None
    reader: Reader
    pixels: PixelType
    depth: Literal["metres", "values"] | None = None
    whole_images: bool
    precision: Literal["fp32", "int8"] = "fp32"
    temperature: float = Field(default=1.0, gt=0)
    members: dict[str, str]
    about: dict[str, Any]
    agreement: Agreement | None = None


class OnnxModel(nn.Module):
    """Probabilities by ONNX Runtime; ``load_onnx`` makes one.

    Images go in as every model takes them, float32 in 0..1 after the reader's scaling: the graph is entered behind the
    scaling of its own, so that predictions in tiles scale by the whole picture, and files of any type can be read, and
    left before an ensemble's temperature, which comes after tiles are averaged. It runs on this machine's processors,
    with as many threads as PyTorch uses, or on a GPU where ONNX Runtime has one.

    A file with a second modality takes it as a ``Segmenter`` does, or goes by the images alone where there is none.

    Args:
        description: the file's.
        session: of the graph from the scaled image on to what is blendable.
        digest: SHA-256 of the file.
    """

    def __init__(self, description: ExportDescription, session: "onnxruntime.InferenceSession", digest: str) -> None:
        super().__init__()
        self.task: Task = description.task
        self.classes, self.background = tuple(description.classes), description.background
        self.maps = output_maps(self.task, len(self.classes))
        self.reader, self.about = description.reader, description.about
        self.takes_whole_images = description.whole_images
        self.precision, self.temperature = description.precision, description.temperature
        self.description, self.digest = description, digest
        self.no_disagreement = (
            "an exported one is a single graph: take the model it was exported from"
            if description.kind == "ensemble"
            else "this model is a single one"
        )
        self.disagrees = False
        self._session = session
        self.eval()

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """The same as :meth:`probabilities`."""
        return self.probabilities(image, depth)

    def probabilities(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W] in 0..1 of images [B, C, H, W] in 0..1, where the images are.

        Depth [B, C' + 1, H, W], values and validity, may also lie behind the image's channels; without it there is
        none in any picture.

        Raises ValueError for depth of another shape, or where the file takes images alone.
        """
        image, depth = self.reader.apart(image, depth)
        if depth is not None:
            check_depth(depth, image, self.reader.depth_channels)
        given = {IMAGE: _array(image)}
        if self.reader.depth_channels:
            batch, _, *size = image.shape
            absent = np.zeros((batch, *size, self.reader.depth_channels + 1), np.float32)
            given[DEPTH] = absent if depth is None else _array(depth.permute(0, 2, 3, 1))
        try:
            (found,) = self._session.run([BLENDABLE], given)
        except Exception as error:  # the runtime's own kinds
            shape = list(image.shape)
            raise ModelError(f"the exported file fails on images {shape} ({one_line(error)})") from error
        return tempered(torch.from_numpy(found).to(image.device), self.temperature, self.task)

    def statistics(self, image: Tensor, depth: Tensor | None = None) -> PixelStatistics:
        """Probabilities and their entropy; the members of an ensemble are one graph, whose disagreement isn't known."""
        probabilities = self.probabilities(image, depth)
        return PixelStatistics(probabilities, entropy(probabilities, self.task))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing in it ever changes, and sessions can't be copied


def _array(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())


def load_onnx(path: str | Path) -> OnnxModel:
    """The model in an .onnx file that ``segkit export`` wrote.

    Raises:
        ModelError: no such file, damaged, or written by something else.
        UsageError: ONNX or ONNX Runtime isn't installed.
    """
    path = Path(path)
    onnx, _ = require_onnx()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    if not content:
        raise ModelError(f"{path}: the file is empty; export it again")
    try:
        proto = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own, not to be imported for one name
        raise ModelError(f"{path}: no ONNX file, or a damaged one; export it again") from error
    description = described(path, {entry.key: entry.value for entry in proto.metadata_props}.get(KEY))
    try:
        onnx.checker.check_model(proto)
        return OnnxModel(description, start(from_image(proto).SerializeToString()), hashlib.sha256(content).hexdigest())
    except Exception as error:  # whatever the checker and the runtime say of a graph that isn't whole
        raise ModelError(f"{path}: damaged ({one_line(error)}); export it again") from error


def described(path: Path, text: str | None) -> ExportDescription:
    """The description in an exported file, from its text.

    Raises:
        ModelError: there is none, it is damaged, or of another format.
    """
    if text is None:
        raise ModelError(f"{path}: says nothing of its classes; only files made by 'segkit export' can be used")
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values.get("format") != FORMAT:
            raise ModelError(f"{path}: its description has format {values.get('format')!r}, this segkit reads {FORMAT}")
        return ExportDescription.model_validate(values)
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: its description is not readable JSON ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: its description is damaged at {where!r}: {first['msg']}") from None


def from_image(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """The graph from the scaled image on, with depth if it is taken, to what is blendable."""
    import onnx.utils

    second = [value.name for value in proto.graph.input if value.name == DEPTH]
    return onnx.utils.Extractor(proto).extract_model([IMAGE, *second], [BLENDABLE])


def start(graph: bytes | str) -> "onnxruntime.InferenceSession":
    """A session of a graph, or of the file that it is in, by ONNX Runtime.

    It has as many threads as PyTorch, and runs on a GPU where the runtime was built for one.
    """
    _, runtime = require_onnx()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # its warnings are about its own optimisations
    there = runtime.get_available_providers()
    # By default it rounds what goes into convolutions to ten bits.
    exactly = {"CUDAExecutionProvider": {"use_tf32": "0"}, "CPUExecutionProvider": {}}
    wanted = [(name, how) for name, how in exactly.items() if name in there]
    return runtime.InferenceSession(graph, options, wanted)


def require_onnx(*further: str) -> tuple[Any, Any]:
    """The modules ``onnx`` and ``onnxruntime``; UsageError, with what installs them, where one of all is missing."""
    for name in ("onnx", "onnxruntime", *further):
        try:
            import_module(name)
        except ImportError as error:
            raise UsageError(
                f'{name} {why_missing(error, name)}; .onnx files need it: pip install "segkit[export]"'
            ) from error
    return import_module("onnx"), import_module("onnxruntime")
