"""How much members tell of the truth beyond how frequent its classes are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.fitting.heldout import HeldOut, points
from segkit.statistics import logits_of
from segkit.task import Task

LEAST = 0.01  # of a member that knows anything
ROUNDS = 100
POINTS = 100_000  # pixels that are looked at


def guessing(pictures: Sequence[HeldOut], task: Task, log_loss: nn.Module) -> list[int]:
    """The places of the members that tell less than a hundredth of what there is to know; none where all do."""
    members, target = points(pictures, POINTS)
    told = [information(maps, target, task, log_loss) for maps in members]
    poor = [place for place, share in enumerate(told) if share < LEAST]
    return poor if len(poor) < len(told) else []


@torch.enable_grad()
def information(probabilities: Tensor, target: Tensor, task: Task, log_loss: nn.Module) -> float:
    """The share of the classes' uncertainty that a member takes away, however it is calibrated, 0 to 1.

    It is 1 - L / H: H is the log loss of the classes' frequencies, the same at every pixel, and L that of the member
    with the steepness and the shift of each map that suit it best (Platt, 1999). Of what has nothing to do with the
    truth, or is its contrary, it is 0; where the truth is one class alone, which leaves nothing to tell, 1.

    Args:
        probabilities: float32 [maps, N].
        target: ids int64 [N], or 0/1 float32 [maps, N] for multilabel.
        task: what the maps are.
        log_loss: called with logits [1, maps, 1, N] and target.
    """
    logits = logits_of(probabilities[None, :, None], task).double()
    shift = torch.zeros(1, len(probabilities), 1, 1, dtype=torch.float64, requires_grad=True)
    steepness = torch.zeros((), dtype=torch.float64, requires_grad=True)
    logits = (logits - logits.mean()) / logits.std().clamp_min(1e-6)

    def lowest(free: list[Tensor]) -> float:
        optimizer = torch.optim.LBFGS(free, max_iter=ROUNDS, line_search_fn="strong_wolfe", tolerance_change=1e-10)

        def objective() -> Tensor:
            optimizer.zero_grad()
            found: Tensor = log_loss(steepness * logits + shift, target[None, ..., None, :])
            found.backward()  # type: ignore[no-untyped-call]  # torch has no hints there
            return found

        optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch has no hints there
        return float(objective().detach())

    of_frequencies = lowest([shift])
    if of_frequencies < 1e-3:
        return 1.0
    of_member = lowest([steepness, shift])
    return max(0.0, 1 - of_member / of_frequencies) if steepness > 0 else 0.0
