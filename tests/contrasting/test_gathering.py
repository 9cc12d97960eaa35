"""Two processes learn exactly what one does with the pairs of both."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segkit.contrasting.gathering import gather
from segkit.contrasting.losses import InfoNCE, MarginPairs

PAIRS, DIM = 7, 5
SPLITS = {"even": 3, "uneven": 2, "empty": 0}  # of the pairs, so many are the first process's
LOSSES = {"info_nce": lambda: InfoNCE(temperature=0.2, radius=3), "margin": lambda: MarginPairs(radius=3)}


class Towers(nn.Module):
    """Two encoders and a loss, as training has them."""

    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(0)
        self.colour, self.depth = nn.Linear(4, DIM), nn.Linear(3, DIM)
        self.loss = loss

    def forward(self, first, second, group, place):
        return self.loss(self.colour(first), self.depth(second), group=group, place=place)


def pairs(count):
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(count, channels, generator=generator) for channels in (4, 3))
    group = torch.tensor([0, 1, 2, 0, 3, 4, 5])[:count]
    place = torch.randint(0, 6, (count, 3), generator=generator)
    return first, second, group, place


def part(case, rank):
    """A process's pairs; pictures have numbers of its own, which the joined batch tells apart."""
    count = 6 if case == "even" else PAIRS
    cut = SPLITS[case]
    return [each[:cut] if rank == 0 else each[cut:] for each in pairs(count)]


def joined(case):
    (*first, place), (*second, other) = (part(case, rank) for rank in (0, 1))
    other = other + torch.tensor([1000, 0, 0])
    return [*(torch.cat(each) for each in zip(first, second, strict=True)), torch.cat([place, other])]


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def by_hand(model, inputs):
    """Gradients of all processes, averaged."""
    model(*inputs).backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= 2
    return gradients(model)


def by_ddp(model, inputs):
    wrapped = DistributedDataParallel(model)
    wrapped(*inputs).backward()
    return gradients(wrapped.module)


def work(rank, place, results, averaged):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    found = {}
    for case in SPLITS:
        for name, make in LOSSES.items():
            mean = Towers(make())(*part(case, rank)).detach()
            dist.all_reduce(mean)
            found[case, name] = mean / 2, averaged(Towers(make()), part(case, rank))
    rows = torch.full((rank + 1, 2), float(rank), requires_grad=True)
    everyone = gather(rows)
    ((rank + 1) * everyone.rows.sum(1) * torch.arange(3)).sum().backward()
    found["gather"] = everyone.rows.detach(), everyone.start, everyone.rank, rows.grad
    if rank == 1:
        torch.save(found, results)
    dist.barrier()
    dist.destroy_process_group()


def started(folder, averaged):
    """What the second of two processes found."""
    mp.spawn(work, args=(folder / "meeting", folder / "found.pt", averaged), nprocs=2)
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Started once for all tests, because that is what takes long."""
    return started(tmp_path_factory.mktemp("processes"), by_hand)


def check(both, case, name):
    model = Towers(LOSSES[name]())
    value = model(*joined(case))
    value.backward()
    mean, theirs = both[case, name]
    assert float(mean) == pytest.approx(float(value.detach()), abs=1e-6)
    ours = gradients(model)
    assert theirs.keys() == ours.keys()
    for parameter, gradient in theirs.items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(gradient, ours[parameter], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", SPLITS)
def test_gradients_of_two_processes_are_those_of_one(both, case, name):
    check(both, case, name)


@pytest.mark.slow
def test_so_are_those_that_distributed_data_parallel_averages(tmp_path):
    found = started(tmp_path, by_ddp)
    for case in SPLITS:
        for name in LOSSES:
            check(found, case, name)


def test_rows_come_in_the_order_of_ranks_and_gradients_are_sums_over_processes(both):
    rows, start, rank, gradient = both["gather"]
    assert rows.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert (start, rank.tolist()) == (1, [0, 1, 1])
    assert gradient.tolist() == [[3, 3], [6, 6]]  # (1 + 2) · 1, (1 + 2) · 2


def test_one_process_has_its_own_rows():
    rows = torch.rand(3, 2)
    found = gather(rows)
    assert found.rows is rows
    assert (found.start, found.rank.tolist()) == (0, [0, 0, 0])
