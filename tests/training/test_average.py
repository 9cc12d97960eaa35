import copy

import pytest
import torch
from torch import nn

from segkit.errors import ModelError
from segkit.training.average import WeightAverage


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(6, 2))


def train(model, steps, average=None):
    """Change weights and statistics as training would; return the states seen."""
    states = []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model.train()(torch.randn(2, 3, 8, 8))
        states.append(copy.deepcopy(model.state_dict()))
        if average is not None:
            average.update(model)
    return states


def averaged(average, model):
    with average.applied_to(model):
        return copy.deepcopy(model.state_dict())


def test_the_average_is_the_recursion_with_a_growing_decay():
    model = network()
    expected = {name: t.clone() for name, t in model.state_dict().items()}
    average = WeightAverage(model, decay=0.2)
    for t, state in enumerate(train(model, 3, average)):
        d = min(0.2, (1 + t) / (10 + t))  # 1/10, 2/11, then 0.2
        expected = {name: d * expected[name] + (1 - d) * state[name] for name in state}
    found = averaged(average, model)
    for name in found:
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(found[name], expected[name])


def test_with_decay_0_the_average_is_the_model_itself_statistics_included():
    model = network()
    average = WeightAverage(model, decay=0.0)
    last = train(model, 2, average)[-1]
    found = averaged(average, model)
    assert "1.running_var" in found
    assert all(torch.equal(found[name], last[name]) for name in last)


def test_a_weight_that_does_not_move_stays_bit_by_bit():
    model = network().requires_grad_(False)
    average = WeightAverage(model)
    for _ in range(3):
        average.update(model)
    found = averaged(average, model)
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def test_the_averaged_mean_of_a_norm_is_that_of_the_averaged_weights():
    # Same input throughout, statistics taken anew at each step (momentum 1): then it holds exactly, not to first order.
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=1.0)), torch.randn(2, 3, 8, 8)
    model(images)
    average = WeightAverage(model, decay=0.9)
    for _ in range(4):
        with torch.no_grad():
            model[0].weight.add_(torch.randn_like(model[0].weight))
        model(images)
        average.update(model)
    with average.applied_to(model):
        kept = model[1].running_mean.clone()
        model(images)  # overwrites the statistics by those of the averaged weights
        torch.testing.assert_close(kept, model[1].running_mean)


def test_the_model_gets_its_own_weights_back_bit_by_bit_also_after_an_error():
    model = network()
    average = WeightAverage(model)
    own = train(model, 2, average)[-1]
    pointers = [parameter.data_ptr() for parameter in model.parameters()]

    def evaluate_and_fail():
        with average.applied_to(model) as inside:
            assert inside is model
            assert not torch.equal(model[0].weight, own["0.weight"])
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        evaluate_and_fail()
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())
    assert [parameter.data_ptr() for parameter in model.parameters()] == pointers


def test_its_state_makes_another_average_go_on_equally():
    model = network()
    average = WeightAverage(model, decay=0.5)
    train(model, 3, average)
    resumed = WeightAverage(network(), decay=0.9)
    resumed.load_state_dict(copy.deepcopy(average.state_dict()))
    for one in (average, resumed):
        torch.manual_seed(1)
        train(copy.deepcopy(model), 2, one)
    assert (resumed.updates, resumed.decay) == (5, 0.5)
    left, right = averaged(average, model), averaged(resumed, model)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_saved_state_does_not_move_on_with_the_average():
    model = network()
    average = WeightAverage(model)
    state = average.state_dict()
    before = state["averages"]["0.weight"].clone()
    train(model, 1, average)
    assert torch.equal(state["averages"]["0.weight"], before)


def test_another_architecture_is_refused():
    average = WeightAverage(network())
    with pytest.raises(ModelError, match=r"the model lacks '1\.bias'; it belongs to another architecture"):
        average.update(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(6, 2)))
    with pytest.raises(ModelError, match=r"0\.weight: saved average is \(5, 3, 3, 3\), expected \(4, 3, 3, 3\)"):
        average.load_state_dict(
            WeightAverage(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(6, 2))).state_dict()
        )


def test_a_decay_of_1_is_refused():
    with pytest.raises(ValueError, match="decay is 1; expected 0 or more and less than 1"):
        WeightAverage(network(), decay=1)
