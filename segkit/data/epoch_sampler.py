"""The order of an epoch's items, dealt out to several processes."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """(epoch, index) pairs of one epoch, shuffled by (seed, epoch), every ``world_size``-th of them from ``rank``.

    Every rank gets equally many: the first few of the order come again where the length does not divide.

    Args:
        length: of the dataset.
        seed: of the order.
        shuffle: off: in order.
        rank: this process, from 0.
        world_size: number of processes.
    """

    def __init__(self, length: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world_size: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        order = np.resize(order, len(self) * self.world_size)  # repeats from the start
        return iter([(self.epoch, int(index)) for index in order[self.rank :: self.world_size]])
