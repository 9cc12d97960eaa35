"""An ensemble of which one member at a time is on the device."""

from functools import partial

import torch
from torch import Tensor, nn

from segkit.combining.sums import Spread
from segkit.ensemble import Ensemble
from segkit.prediction.at_once import AtOnce
from segkit.statistics import PixelStatistics

HOME = torch.device("cpu")


def _move(member: nn.Module, device: torch.device) -> None:
    """Move a member; outside of inference mode, in which its weights would never have a gradient again."""
    with torch.inference_mode(False), torch.no_grad():
        member.to(device)


class Offloaded:
    """Asks the members of an ensemble one after the other, each on the device only while it is asked.

    It is given a row of tiles at a time, so that every member's weights go to the device and back once a row (and once
    a view, with ``tta``), whatever the number of tiles. The device holds one member, the row's sums, and what one batch
    of tiles needs.

    Args:
        ensemble: in evaluation mode, on the CPU.
        device: where members are asked.
        batches: says how many tiles at a time.
    """

    def __init__(self, ensemble: Ensemble, device: torch.device, batches: AtOnce) -> None:
        self.ensemble, self.device, self.batches = ensemble, device, batches
        ensemble.combination.to(device)

    def statistics(self, tiles: Tensor) -> PixelStatistics:
        """What ``Ensemble.statistics`` gives, before the temperature of the whole, of tiles [b, C, h, w]."""
        ensemble = self.ensemble
        sums = Spread(ensemble.combination)
        image, _ = ensemble.reader.apart(tiles, None)
        for place, member in enumerate(ensemble.members):
            try:
                _move(member, self.device)
                found = self.batches.ask(partial(ensemble.member_probabilities, place), tiles)
            finally:
                _move(member, HOME)
            sums.add(place, found, image)
        return sums.statistics(1.0)
