"""A model from elsewhere, any module, function or ONNX file, as a member of an ensemble or a predictor's model."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self, get_args
from uuid import uuid4

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.data.reader import Reader, Window
from segkit.data.window_names import NamedWindow
from segkit.errors import ModelError, UsageError
from segkit.model_arguments import background_id, channel_count, class_names, given_window, normalisation, task_of
from segkit.one_line import one_line
from segkit.onnx_model import start
from segkit.statistics import PixelStatistics, entropy, probabilities_of
from segkit.task import Task, output_maps
from segkit.tensor_checks import check_images

Function = Callable[[Tensor], Any]
Gives = Literal["logits", "probabilities"]


class Adapter(nn.Module):
    """Ask a model from elsewhere what a ``Segmenter`` is asked.

    Args:
        source: a module, a function of images float32 [B, C, H, W] that gives a tensor or an array
            [B, maps, H, W], or the path of an .onnx file with one such input.
        classes: names of the classes, in the order of their ids, or their number.
        gives: whether it gives logits or probabilities. Two maps of a binary task are taken for both classes' logits,
            or for both classes' probabilities.
        task: by default one or two classes mean ``binary``, more mean ``multiclass``.
        background: name or id of the class that is background; by default the first of two, or the one of that name.
        in_channels: channels of the images that come in: those of the ensemble.
        window: intensities that become 0 and 1 on reading: those of the ensemble.
        reader: in the place of these two, how the ensemble's other members read, ``other.reader``: needed beside
            models of volumes, and of pictures at one resolution (``data.mpp``).
        mean, std: what is taken off the images in 0..1, and what they are divided by, one a channel; by default
            nothing is done to them.
        convert: from images in 0..1 of ``in_channels`` to what ``source`` takes, where that is something else: other
            channels, other ranges. It comes before ``mean`` and ``std``, which then are as many as it gives.
        multiple_of: sides that ``source`` takes are multiples of it; images are reflected at the right and the bottom
            to such sides, and the maps cut.
        takes_whole_images: a piece of an image means something else to it, so that it isn't used in tiles.

    Images come on the predictor's device: the model's own, and the processor where it has no parameters.

    Raises:
        UsageError: a value that isn't one of these.
        ModelError: an .onnx file that can't be used.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        source: nn.Module | Function | str | Path,
        *,
        classes: int | Sequence[str],
        gives: Gives = "logits",
        task: Task | None = None,
        background: int | str | None = None,
        in_channels: int = 3,
        window: Window | NamedWindow | None = None,
        reader: Reader | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        convert: Function | None = None,
        multiple_of: int = 1,
        takes_whole_images: bool = False,
    ) -> None:
        super().__init__()
        self.classes = class_names(classes)
        window = given_window(window)
        self.task: Task = task_of(task, self.classes)
        if gives not in get_args(Gives):
            raise UsageError(f"gives={gives!r}: expected one of {', '.join(get_args(Gives))}")
        if type(multiple_of) is not int or multiple_of < 1:
            raise UsageError(f"multiple_of={multiple_of!r}: expected a whole number, 1 or more")
        self.maps = output_maps(self.task, len(self.classes))
        self.background = background_id(background, self.classes, self.task)
        if reader is not None and (reader.depth_channels or window is not None):
            raise UsageError("reader: one of images alone, in the place of in_channels and window")
        self.reader = Reader(channels=channel_count(in_channels), window=window) if reader is None else reader
        self.gives, self.multiple_of, self.takes_whole_images = gives, multiple_of, takes_whole_images
        self.disagrees = False
        self.architecture = None
        self.about: dict[str, Any] = {}
        given = [None if values is None else [float(value) for value in values] for values in (mean, std)]
        channels = len(given[0] or given[1] or (0.0,))  # one, where nothing is to be done, fits any number
        mean, std = normalisation(given[0] or (0.0,) * channels, given[1] or (1.0,) * channels, channels)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self._incoming = torch.zeros(1, self.reader.channels, 1, 1)
        self.convert: nn.Module | _Call | None = None
        if convert is not None:
            self.convert = convert if isinstance(convert, nn.Module) else _Call(convert)
        if isinstance(source, str | Path):
            self.source: nn.Module | _Call = _Call(_onnx(Path(source)))
            what = _digest(Path(source))
        elif isinstance(source, nn.Module) or callable(source):
            # What code does can't be told from outside: each one counts as another.
            self.source, what = source if isinstance(source, nn.Module) else _Call(source), uuid4().hex
        else:
            raise UsageError(f"{type(source).__name__}: expected a module, a function, or an .onnx file's path")
        self.identity = f"{what} {gives} {multiple_of} {'' if convert is None else uuid4().hex}"

    def forward(self, image: Tensor) -> Tensor:
        """The same as :meth:`probabilities`."""
        return self.probabilities(image)

    def probabilities(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W] in 0..1 of images [B, C, H, W] in 0..1.

        Raises:
            ModelError: what the model gives is of another shape, or no probabilities.
        """
        if depth is not None:
            raise UsageError("an adapter takes images alone, no depth")
        check_images(image, self._incoming)
        x = image if self.convert is None else _tensor(self.convert(image), image)
        if self.mean.shape[1] not in (1, x.shape[1]):
            raise ModelError(f"images of {x.shape[1]} channels for a model with {self.mean.shape[1]} means")
        x = (x.float() - self.mean) / self.std
        height, width = x.shape[-2:]
        missing = (0, -width % self.multiple_of, 0, -height % self.multiple_of)
        found = _tensor(self.source(_extended(x, missing)), image)
        found = found[..., :height, :width] if found.ndim == 4 else found
        expected = [len(image), self.maps, *image.shape[-2:]]
        both = self.task == "binary" and found.ndim == 4 and found.shape[1] == 2
        if list(found.shape) != expected and not (both and [*found.shape[:1], 1, *found.shape[2:]] == expected):
            raise ModelError(f"the model from elsewhere gives {list(found.shape)}; expected {expected}")
        if self.gives == "logits":
            return found.float().softmax(1)[:, 1:] if both else probabilities_of(found, self.task)
        found = found[:, 1:].float() if both else found.float()
        low, high = found.aminmax()
        if low < -0.001 or high > 1.001:  # interpolation and rounding end up just outside
            raise ModelError(
                f"the model from elsewhere gives {low:.3g} to {high:.3g}, no probabilities; say gives='logits'"
            )
        return found.clamp(0, 1)

    def statistics(self, image: Tensor, depth: Tensor | None = None) -> PixelStatistics:
        """Probabilities and their entropy."""
        probabilities = self.probabilities(image, depth)
        return PixelStatistics(probabilities, entropy(probabilities, self.task))


class _Call:
    """A function; copies of a model share it, because it may hold what can't be copied."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, image: Tensor) -> Any:
        return self.function(image)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _digest(path: Path) -> str:
    """SHA-256 of an .onnx file, and of the files beside it that it names: there its weights may be."""
    digest = sha256(content := path.read_bytes())
    for other in sorted(path.parent.iterdir()):
        if other != path and other.is_file() and other.name.encode() in content:
            digest.update(other.read_bytes())
    return digest.hexdigest()


def _onnx(path: Path) -> Function:
    """A function that runs an .onnx file's first output of its only input."""
    try:
        with path.open("rb"):
            session = start(str(path))  # from its place: its weights may lie in a file beside it
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    except UsageError:
        raise
    except Exception as error:  # whatever the runtime says of a file that is no graph
        raise ModelError(f"{path}: no ONNX file, or a damaged one ({one_line(error)})") from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelError(f"{path}: takes {len(inputs)} inputs; expected one, the images")

    at_once = inputs[0].shape[0] if inputs[0].shape and isinstance(inputs[0].shape[0], int) else None

    def run(image: Tensor) -> Any:
        try:
            given = np.ascontiguousarray(image.detach().float().cpu().numpy())
            name, output = inputs[0].name, session.get_outputs()[0].name
            if at_once is None:
                return session.run([output], {name: given})[0]
            # A graph made for so many images: the last ones are filled up with copies.
            filled = np.concatenate([given, np.repeat(given[-1:], -len(given) % at_once, axis=0)])
            parts = [filled[i : i + at_once] for i in range(0, len(filled), at_once)]
            return np.concatenate([session.run([output], {name: part})[0] for part in parts])[: len(given)]
        except Exception as error:  # the runtime's own kinds of errors
            raise ModelError(f"{path}: can't take images {list(image.shape)} ({one_line(error)})") from error

    return run


def _tensor(found: Any, image: Tensor) -> Tensor:
    """What a function gave, as a tensor where the images are."""
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(found)
    if not isinstance(found, Tensor):
        raise ModelError(f"the model from elsewhere gives {type(found).__name__}; expected a tensor or an array")
    return found.to(image.device)


def _extended(x: Tensor, missing: tuple[int, int, int, int]) -> Tensor:
    """Reflected at the right and the bottom; repeated where there is less than is missing."""
    if not any(missing):
        return x
    fits = missing[1] < x.shape[-1] and missing[3] < x.shape[-2]
    return F.pad(x, missing, mode="reflect" if fits else "replicate")
