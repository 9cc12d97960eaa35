"""Classes that a model of images and texts was never trained on by name: each is what its captions say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.classification.prediction import ImageLabel, classify
from segkit.contrasting.image_text import ImageText, is_texts
from segkit.data.reader import Pixels
from segkit.errors import UsageError


class ZeroShotClassifier(nn.Module):
    """A classifier of images whose classes are described by captions: logits [B, K].

    A class's vector is the mean of its captions' unit vectors, brought to length 1 again (prompt ensembling, Radford et
    al., ICML 2021, section 3.1.4). The logits are cosines over the learned temperature. It is used as a ``Classifier``
    is, and keeps of the model's two towers the one for images, which it shares with the model.

    Args:
        model: in evaluation mode, as training has left it.
        classes: captions by the class that they describe.

    Raises:
        UsageError: no classes, or one without captions.
    """

    vectors: Tensor

    def __init__(self, model: ImageText, classes: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.register_buffer("vectors", class_vectors(model, classes))
        self.classes, self.view, self.channels = tuple(classes), model.view, model.channels
        self.about: dict[str, Any] = model.about
        self.temperature = model.temperature
        self.image = model.image
        self.train(model.training)

    def forward(self, image: Tensor) -> Tensor:
        """Logits float32 [B, K] of images float32 [B, C, H, W] in 0..1."""
        seen = self.image(image)
        with torch.autocast(image.device.type, enabled=False):  # differences of a hundredth decide
            return F.normalize(seen.float(), dim=1) @ self.vectors.T / self.temperature

    def probabilities(self, image: Tensor) -> Tensor:
        """Probabilities float32 [B, K], softmax over the classes."""
        logits: Tensor = self(image)
        return logits.softmax(1)


def zero_shot(
    model: ImageText, images: Iterable[str | Path | Pixels], classes: Mapping[str, Sequence[str]], **options: Any
) -> list[ImageLabel]:
    """Return which of the classes each image is.

    Args:
        model: in evaluation mode.
        images: paths of pictures, or arrays [H, W] or [H, W, C], as :func:`segkit.classification.prediction.classify`
            takes them; each is brought to the model's view.
        classes: captions by the class that they describe: ``{"cat": ["a photo of a cat", "a small cat"], …}``.
        options: further arguments of ``classify``.

    Raises:
        UsageError: no classes, one without captions, or an option out of its range.
    """
    return classify(ZeroShotClassifier(model, classes), images, **options)


@torch.no_grad()
def class_vectors(model: ImageText, classes: Mapping[str, Sequence[str]]) -> Tensor:
    """Unit vectors float32 [K, D] of classes; UsageError where there are none, or one has no captions."""
    if not isinstance(classes, Mapping):
        raise UsageError(f"classes={classes!r}: expected {{class: [caption, …], …}}")
    if not classes:
        raise UsageError("no classes; give {class: [caption, …], …}")
    for name, captions in classes.items():
        if not is_texts(captions):
            raise UsageError(f"class {name!r}: expected a list of one caption or more, found {captions!r}")
    vectors = model.encode_texts([caption for captions in classes.values() for caption in captions])
    parts = torch.split(vectors, [len(captions) for captions in classes.values()])
    return F.normalize(torch.stack([part.mean(0) for part in parts]), dim=1)
