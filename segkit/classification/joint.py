"""Early fusion: several frozen networks, each with an input of its own or all with the same, under one new head."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from segkit.classification.classifier import Classifier
from segkit.classification.feature_head import DROPOUT, HIDDEN, FeatureHead
from segkit.classification.member_fit import check_members
from segkit.combining.roster import member_names, member_temperatures
from segkit.errors import UsageError


class JointHead(nn.Module):
    """Logits float [B, K] from what several frozen modules make of their inputs, each ``module → [B, D]``.

    The modules may be of any kind, and their inputs too: an image, a sound, a row of numbers. They are frozen in place:
    their parameters ask for no gradient, and they stay in eval mode, so that BatchNorm's statistics stay what they are.
    Only ``top`` learns: by any training of this module, or, on features that are computed once, by
    :func:`segkit.classification.joint_training.train_head`.

    Args:
        encoders: a module an input; each gives [B, D].
        widths: the D of each.
        classes: K.
        hidden, dropout: of the :class:`FeatureHead`, ``top``.

    Raises:
        UsageError: another number of widths than encoders, something else than a module, or numbers out of range.
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        widths: Sequence[int],
        classes: int,
        *,
        hidden: int = HIDDEN,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        if len(widths) != len(encoders):
            raise UsageError(f"{len(widths)} widths for {len(encoders)} encoders; give each its own")
        for place, encoder in enumerate(encoders):
            if not isinstance(encoder, nn.Module):
                raise UsageError(f"encoder {place} is of the type {type(encoder).__name__}; expected an nn.Module")
        self.top = FeatureHead(widths, classes, hidden=hidden, dropout=dropout)
        self.encoders = nn.ModuleList(encoders)
        self.encoders.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the head; the encoders stay in eval mode."""
        super().train(mode)
        self.encoders.eval()
        return self

    def forward(self, *inputs: Any) -> Tensor:
        """Logits float [B, K] of one input an encoder."""
        logits: Tensor = self.top(self.features(*inputs))
        return logits

    @torch.no_grad()
    def features(self, *inputs: Any) -> list[Tensor]:
        """Each encoder's features float32 [B, D], of one input each.

        Raises:
            UsageError: another number of inputs than encoders, inputs of several lengths, or an encoder that gives
                something else.
        """
        if len(inputs) != len(self.encoders):
            raise UsageError(f"{len(inputs)} inputs for {len(self.encoders)} encoders; give one input each")
        found: list[Tensor] = []
        for place, (encoder, given, width) in enumerate(zip(self.encoders, inputs, self.top.widths, strict=True)):
            feature = encoder(given)
            if not isinstance(feature, Tensor):
                raise UsageError(f"encoder {place} gives a {type(feature).__name__}; expected a tensor [B, {width}]")
            if feature.ndim != 2 or feature.shape[1] != width:
                raise UsageError(f"encoder {place} gives {list(feature.shape)}; expected [B, {width}]")
            if found and len(feature) != len(found[0]):
                raise UsageError(
                    f"encoder {place} gives {len(feature)} rows, encoder 0 {len(found[0])}; inputs go together by rows"
                )
            found.append(feature.float())
        return found


class Pooled(nn.Module):
    """A classifier as an encoder: its features in the place of its logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        """What its last layer reads of images [B, C, H, W]: normalised, averaged over the pixels, float [B, D]."""
        return self.classifier.features(image)


class JointClassifier(nn.Module):
    """Classifiers' features under a joint head; it answers what a ``Classifier`` does.

    Args:
        members: trained classifiers of the same classes, which take the same view of an image; they are frozen.
        names: the members' names.
        hidden, dropout: of the :class:`FeatureHead`.
        temperature: by which its logits are divided; it changes no order of the classes.

    Raises:
        UsageError: members that don't fit together, or numbers out of range.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        *,
        names: Sequence[str] | None = None,
        hidden: int = HIDDEN,
        dropout: float = DROPOUT,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.names = member_names(names, len(members))
        check_members(members, self.names)
        self.classes, self.view, self.channels = members[0].classes, members[0].view, members[0].channels
        self.about: dict[str, Any] = {}
        _, self.temperature = member_temperatures(None, len(members), temperature)
        self.joint = JointHead(
            [Pooled(member) for member in members],
            [member.head.in_features for member in members],
            len(self.classes),
            hidden=hidden,
            dropout=dropout,
        )

    @property
    def members(self) -> tuple[Classifier, ...]:
        """The classifiers, by their places."""
        return tuple(pooled.classifier for pooled in self.joint.encoders if isinstance(pooled, Pooled))

    def forward(self, image: Tensor) -> Tensor:
        """Logits float [B, K] of images float32 [B, C, H, W] in 0..1, any H and W."""
        logits: Tensor = self.joint(*[image] * len(self.names))
        return logits / self.temperature

    def probabilities(self, image: Tensor) -> Tensor:
        """Probabilities float32 [B, K], softmax over the classes."""
        logits: Tensor = self(image).float()
        return logits.softmax(1)
