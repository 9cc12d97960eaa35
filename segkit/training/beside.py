"""What is learnt from maps that lie beside the masks: an ensemble's errors, or a teacher's probabilities."""

from torch import Tensor, nn

from segkit.data.masks import IGNORE

FULL = 254  # of the bytes that stand for 0..1; 255 is outside the picture


class Boosted(nn.Module):
    """A loss in which a pixel counts 1 + boost · (1 - p of the truth), p being what the members before give it.

    As in boosting later members look where earlier ones fail (Freund and Schapire, JCSS, 1997); the weight is bounded,
    so that pixels with wrong labels don't take over.

    Args:
        loss: of logits, target and weight.
        boost: above 0.
    """

    def __init__(self, loss: nn.Module, boost: float) -> None:
        super().__init__()
        self.loss, self.boost = loss, boost

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None, beside: Tensor) -> Tensor:
        """Scalar; ``beside`` uint8 [B, 1, H, W] is how wrong the members before are."""
        outside = beside[:, 0] == IGNORE
        wrong = (beside[:, 0].float() / FULL).masked_fill(outside, 0)
        boosted = 1 + self.boost * wrong
        found: Tensor = self.loss(logits, target, boosted if weight is None else boosted * weight)
        return found


class Taught(nn.Module):
    """A loss against masks, where there are any, and one against a teacher's probabilities (Hinton et al., 2015).

    Args:
        loss: of logits, target and weight; it takes soft targets too.
        share: of the whole that is against the teacher's probabilities.
        maps: of the model; ``beside`` has one more, the teacher's disagreement.
    """

    def __init__(self, loss: nn.Module, share: float, maps: int) -> None:
        super().__init__()
        self.loss, self.share, self.maps = loss, share, maps

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None, beside: Tensor) -> Tensor:
        """Scalar; ``beside`` uint8 [B, maps + 1, H, W] holds probabilities, then disagreement."""
        soft = beside[:, : self.maps]
        outside = soft == IGNORE
        taught: Tensor = self.loss(logits, (soft.float() / FULL).masked_fill(outside, IGNORE), weight)
        if self.share == 1:
            return taught
        told: Tensor = self.loss(logits, target, weight)
        return self.share * taught + (1 - self.share) * told


def spread_loss(logits: Tensor, beside: Tensor) -> Tensor:
    """Cross-entropy of a student's spread, logits [B, 1, H, W], against the teacher's, the last map of ``beside``."""
    truth = beside[:, -1:]
    counted = truth != IGNORE
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.float(), (truth.float() / FULL).clamp(max=1), reduction="none"
    )
    return (losses * counted).sum() / counted.sum().clamp(min=1)
