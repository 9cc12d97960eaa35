"""What several classifiers see in the same images: the features that their last layers read, computed once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from segkit.classification.classifier import Classifier
from segkit.errors import ModelError, UsageError
from segkit.labelled.augmentation import Augmentation
from segkit.labelled.batch_augmentation import BatchAugmentation
from segkit.labelled.held import Batch, HeldImages
from segkit.labelled.images import LabelledImages
from segkit.labelled.view import View
from segkit.prediction.at_once import AtOnce

BATCH = 128


class MemberFeatures:
    """Features of the images of one dataset, by classifiers that take the same view of them.

    Args:
        members: the classifiers.
        data: the dataset.
        device: where they are while features are computed.
        progress: called after each batch of images with the number of images in it.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        data: LabelledImages,
        *,
        device: torch.device,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.members, self.data, self.device, self.progress = members, data, device, progress

    def of(self, split: str) -> tuple[list[Tensor], Tensor]:
        """Each member's features float32 [N, D] of the images as evaluation sees them, and their labels int64 [N]."""
        held = self._held(split, self._view)
        return self._features(held, lambda batch, _: batch["image"].float() / 255), held.labels

    def augmented(self, split: str, augment: Augmentation, *, seed: int, view: int) -> list[Tensor]:
        """Each member's features float32 [N, D] of the images augmented; another ``view`` is another draw."""
        size = self._view.size
        change = BatchAugmentation(augment, size, channels=self.members[0].channels)
        held = self._held(split, size)
        return self._features(held, lambda batch, step: change(batch, (seed, view, step)))

    @property
    def _view(self) -> View:
        view = self.members[0].view
        if view is None:
            raise UsageError("classifiers without a view see images of any size, which fit into no batch; set it")
        return view

    def _held(self, split: str, size: View | tuple[int, int]) -> HeldImages:
        return HeldImages(
            self.data,
            self.data.indices(*split.split("+")),
            channels=self.members[0].channels,
            size=size,
            device=self.device,
        )

    @torch.no_grad()
    def _features(self, held: HeldImages, seen: Callable[[Batch, int], Tensor]) -> list[Tensor]:
        found: list[list[Tensor]] = [[] for _ in self.members]
        at_once = AtOnce(BATCH)
        with placed(self.members, self.device):
            for step, batch in enumerate(held.batches(BATCH, shuffle=False)):
                image = seen(batch, step)
                for kept, member in zip(found, self.members, strict=True):
                    kept.append(at_once.ask(member.features, image).float().cpu())
                self.progress(len(image))
        together = [torch.cat(each) for each in found]
        if not all(bool(each.isfinite().all()) for each in together):
            raise ModelError("a member gives features that are not finite; was its training finite?")
        return together


@contextmanager
def placed(members: Sequence[Classifier], device: torch.device) -> Iterator[None]:
    """The members on a device and in eval mode, and afterwards where and as they were."""
    before = [(next(member.parameters()).device, member.training) for member in members]
    try:
        for member in members:
            member.to(device).eval()
        yield
    finally:
        for member, (place, training) in zip(members, before, strict=True):
            member.to(place).train(training)
