"""What a predictor asks of a model."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from segkit.data.reader import Reader
from segkit.statistics import PixelStatistics
from segkit.task import Task


class Model(Protocol):
    """What a predictor asks of a model; ``Segmenter`` and ``Ensemble`` answer it, and are ``nn.Module``."""

    reader: Reader

    @property
    def task(self) -> Task:
        """What kind of maps it gives."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their ids."""

    @property
    def background(self) -> int | None:
        """Id of the class that is background, if any."""

    @property
    def maps(self) -> int:
        """How many maps of probabilities."""

    @property
    def takes_whole_images(self) -> bool:
        """Whether a tile would be taken for an image of its own."""

    @property
    def disagrees(self) -> bool:
        """Whether its statistics have mutual information."""

    def statistics(self, image: Tensor) -> PixelStatistics:
        """Of images [B, C, H, W] in 0..1, what a second modality says behind them."""

    def modules(self) -> Iterator[nn.Module]:
        """As of ``nn.Module``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of ``nn.Module``."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """As of ``nn.Module``."""
