import copy

import numpy as np
import pytest
import torch

from segkit import Ensemble, Predictor, Segmenter, combining, load, save
from segkit.combining import Gate, LogitMean, Mean, Said, Stack
from segkit.combining.sums import Spread, Sums
from segkit.errors import ModelError, UsageError
from segkit.statistics import entropy, logits_of, probabilities_of, tempered

BODY = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}
IMAGE = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(3))
KINDS = ["mean", "logit_mean", "gate", "stack"]


def members(count, classes):
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(Segmenter.create(**BODY, classes=classes).eval())
        with torch.no_grad():
            found[-1].head.classify.weight.mul_(20)  # far from even
    return found


def combination(kind, parts, **options):
    first = parts[0]
    if kind == "gate":
        options["channels"] = 3
    return combining.create(kind, members=len(parts), maps=first.maps, task=first.task, **options)


def trained(kind, parts):
    """As if it had been trained: with weights far from 0."""
    found = combination(kind, parts)
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return found


@pytest.mark.parametrize("classes", [2, 4])
def test_the_mean_of_logits_is_that_of_the_stack_in_any_order(classes):
    parts = members(4, classes)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    logits = torch.stack([logits_of(part.probabilities(IMAGE), part.task) for part in parts])
    expected = probabilities_of((logits * weights.view(4, 1, 1, 1, 1)).sum(0), parts[0].task)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        taken = [parts[i] for i in order]
        found = Ensemble(taken, combination=combination("logit_mean", taken, weights=weights[order]))(IMAGE)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("kind", "plain"), [("gate", "mean"), ("stack", "logit_mean")])
def test_what_was_not_trained_yet_is_the_plain_mean(kind, plain, classes):
    parts = members(3, classes)
    found, expected = (Ensemble(parts, combination=combination(each, parts)) for each in (kind, plain))
    torch.testing.assert_close(found(IMAGE), expected(IMAGE), atol=1e-6, rtol=0)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_gates_weights_are_the_softmax_of_scores(classes):
    parts = members(3, classes)
    gate = trained("gate", parts)
    said = [combining.Said(i, part.probabilities(IMAGE), IMAGE) for i, part in enumerate(parts)]
    scores = torch.stack([gate.weight(each).log() for each in said])
    assert scores.std(0).mean() > 0.05  # they differ
    expected = (scores.softmax(0) * torch.stack([each.probabilities for each in said])).sum(0)
    torch.testing.assert_close(Ensemble(parts, combination=gate)(IMAGE), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_stack_equals_one_convolution_of_all_logits_at_once(classes):
    parts = members(3, classes)
    stack = trained("stack", parts)
    logits = [logits_of(part.probabilities(IMAGE), part.task) for part in parts]
    kernel = torch.cat([each.weight for each in stack.read], dim=1)
    hidden = torch.conv2d(torch.cat(logits, dim=1) / 4, kernel, stack.bias.flatten(), padding=1).relu()
    expected = probabilities_of(torch.stack(logits).mean(0) + stack.say(hidden), stack.task)
    together = Ensemble(parts, combination=stack)
    torch.testing.assert_close(together(IMAGE), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(together(IMAGE[:1]), expected[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_all_give_probabilities_and_a_spread_and_survive_copies_and_files(kind, classes, tmp_path):
    parts = members(2, classes)
    model = Ensemble(
        parts,
        names=["a", "b"],
        combination=trained(kind, parts),
        temperatures=[1.5, 0.8],
        temperature=1.2,
    ).eval()
    with torch.no_grad():
        found = model.statistics(IMAGE)
        together, *alone = model.probabilities_with_members(IMAGE)
        torch.testing.assert_close(found.probabilities, model(IMAGE))
        torch.testing.assert_close(together, model(IMAGE))
        for each, part, temperature in zip(alone, parts, (1.5, 0.8), strict=True):
            torch.testing.assert_close(each, tempered(part.probabilities(IMAGE), temperature, part.task))
        assert found.probabilities.min() >= 0
        assert found.probabilities.max() <= 1
        if classes > 2:
            torch.testing.assert_close(found.probabilities.sum(1), torch.ones(2, 12, 10))
        assert found.std.max() > 0.01
        assert (found.mutual_information <= found.entropy).all()
        assert torch.equal(copy.deepcopy(model)(IMAGE), model(IMAGE))
        again = load(save(model, tmp_path / "m"))
        assert torch.equal(again(IMAGE), model(IMAGE))
    assert (again.temperatures, again.temperature) == (model.temperatures, model.temperature)
    assert again.combination.options() == model.combination.options()


@pytest.mark.parametrize("kind", ["gate", "stack"])
def test_every_parameter_of_a_learnt_combination_gets_a_gradient(kind):
    parts = members(2, 4)
    found = trained(kind, parts)
    model = Ensemble(parts, combination=found)
    (-model(IMAGE)[:, 1].log().mean()).backward()
    for name, parameter in found.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_tempering_divides_logits_and_changes_no_label(task):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 50, 40) * 3
    p = probabilities_of(logits, task)
    for temperature in (0.5, 2.0):
        found = tempered(p, temperature, task)
        torch.testing.assert_close(found, probabilities_of(logits / temperature, task), atol=1e-5, rtol=0)
        assert torch.equal(found.argmax(1), p.argmax(1))
        if task != "multiclass":
            assert torch.equal(found >= 0.5, p >= 0.5)
    assert tempered(p, 1.0, task) is p


@pytest.mark.parametrize("classes", [2, 4])
def test_a_temperature_changes_no_label_where_tiles_disagree(classes):
    parts = members(2, classes)
    image = torch.rand(70, 61, 3, generator=torch.Generator().manual_seed(1)).numpy()
    how = {"tile": 32, "tta": "flip", "precision": "fp32"}
    plain = Predictor(Ensemble(parts), **how).predict(image)
    model = Ensemble(parts, temperature=2.0)
    found = Predictor(model, **how).predict(image)
    assert (found.labels == plain.labels).all()
    expected = tempered(torch.from_numpy(plain.probabilities)[None], 2.0, parts[0].task)[0]
    torch.testing.assert_close(torch.from_numpy(found.probabilities), expected, atol=1e-6, rtol=0)
    assert model.temperature == 2.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: combining.create("maen", members=2, maps=1, task="binary"), "'maen'; did you mean 'mean'"),
        (lambda: combining.create("mean", members=2, maps=1, task="binary", widht=3), "mean: .*'widht'"),
        (lambda: Gate(2, 1, "binary", channels=0), "channels=0 and width=8; expected 1 or more"),
        (lambda: Stack(2, 1, "binary", width=0), "width=0; expected 1 or more"),
        (lambda: Mean(2, 1, "binary", weights=[-1.0, 2.0]), "weights must be finite, zero or more"),
        (lambda: Mean(2, 1, "binary", weights=[1.0, float("inf")]), "weights must be finite"),
        (
            lambda: Mean(2, 2, "multilabel", weights=[[1.0, 0.0], [1.0, 0.0]]),
            "with a positive sum over the members",
        ),
        (
            lambda: Ensemble(members(2, 2), [1, 1], combination=Mean(2, 1, "binary")),
            "weights and combination: give one of them",
        ),
        (
            lambda: Ensemble(members(2, 2), combination=LogitMean(3, 1, "binary")),
            "of 3 binary members with 1 maps; here are 2 binary members with 1",
        ),
        (lambda: Ensemble(members(2, 2), temperatures=[1.0]), "1 temperatures for 2 members"),
        (lambda: Ensemble(members(2, 2), temperatures=[1.0, 0.0]), "temperature 0: expected a number above 0"),
        (lambda: Ensemble(members(2, 2), temperature=float("nan")), "temperature nan: expected a number above 0"),
    ],
)
def test_what_can_not_be_is_refused(build, message):
    with pytest.raises(UsageError, match=message):
        build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"gate"', '"gaet"'), "did you mean 'gate'"),
        (lambda text: text.replace('"temperature": 1.0', '"temperature": -1.0'), "temperature -1: expected"),
        (lambda text: text.replace('"width": 8', '"width": 9'), "size mismatch|Error"),
        (lambda text: text.replace('"_combination.', '"_other.'), "_other"),
    ],
)
def test_a_damaged_combination_is_refused(change, message, tmp_path):
    parts = members(2, 2)
    folder = save(Ensemble(parts, combination=trained("gate", parts)), tmp_path / "m")
    description = folder / "segkit.json"
    changed = change(description.read_text())
    assert changed != description.read_text()
    description.write_text(changed)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_changed_tensors_of_a_combination_are_refused_and_old_ones_removed(tmp_path):
    parts = members(2, 2)
    folder = save(Ensemble(parts, combination=trained("gate", parts)), tmp_path / "m")
    (file,) = folder.glob("_combination.*")
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="is damaged"):
        load(folder)
    save(Ensemble(parts), folder)
    assert not list(folder.glob("_combination.*"))
    load(folder)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_members_disagree_alike_whatever_combines_and_tempers_them(kind, classes):
    parts = members(3, classes)
    with torch.no_grad():
        for place, part in enumerate(parts):
            part.head.classify.bias[0] += 2 * (place - 1)
    chosen = trained(kind, parts)
    said = [combining.Said(i, part.probabilities(IMAGE), IMAGE) for i, part in enumerate(parts)]
    weights = torch.stack([chosen.weight(each).expand(-1, -1, 12, 10) for each in said])
    weights = weights / weights.sum(0)
    each = torch.stack([one.probabilities for one in said])
    mixture = (weights * each).sum(0)
    within = (weights[:, :, 0] * torch.stack([entropy(one, parts[0].task) for one in each])).sum(0)
    expected = entropy(mixture, parts[0].task) - within
    assert expected.mean() > 0.01
    for temperature in (0.5, 1.0, 3.0):
        model = Ensemble(parts, combination=chosen, temperature=temperature)
        with torch.no_grad():
            found = model.statistics(IMAGE).mutual_information
        torch.testing.assert_close(found, expected.clamp_min(0), atol=1e-5, rtol=0)
        shown = (IMAGE[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
        with torch.no_grad():
            again = model.statistics((shown / 255.0).permute(2, 0, 1)[None]).mutual_information[0]
        predicted = Predictor(model, precision="fp32").predict(shown.numpy()).disagreement
        np.testing.assert_allclose(predicted, again.numpy(), atol=1e-5)


def test_equal_members_do_not_disagree_however_warm():
    part = members(1, 2)[0]
    found = Ensemble([part, part], temperature=1.25).statistics(IMAGE)
    assert found.mutual_information.max() < 1e-6


def test_maps_that_are_one_members_each_are_nothing_to_disagree_on():
    mean = Mean(2, 2, "multilabel", weights=[[1.0, 0.0], [0.0, 1.0]])
    spread = Spread(mean)
    for place, said in enumerate(([0.5, 0.0], [0.0, 0.5])):
        spread.add(place, torch.tensor(said).view(1, 2, 1, 1), torch.zeros(1, 3, 1, 1))
    found = spread.statistics(1.0)
    assert found.probabilities.flatten().tolist() == [0.5, 0.5]
    assert found.mutual_information.abs().max() < 1e-6
    other = Spread(Mean(2, 2, "multilabel", weights=[[0.25, 0.75], [0.75, 0.25]]))
    said = torch.tensor([[0.9, 0.2], [0.4, 0.7]])
    for place in range(2):
        other.add(place, said[place].view(1, 2, 1, 1), torch.zeros(1, 3, 1, 1))
    weights = torch.tensor([[0.25, 0.75], [0.75, 0.25]])

    def nats(p):
        return torch.special.entr(p) + torch.special.entr(1 - p)

    expected = (nats((weights * said).sum(0)) - (weights * nats(said)).sum(0)).mean()
    torch.testing.assert_close(other.statistics(1.0).mutual_information.flatten()[0], expected)


def test_classes_that_nobody_with_a_weight_names_are_equally_likely():
    sums = Sums(Mean(2, 2, "multiclass", weights=[[1.0, 0.0], [0.0, 1.0]]))
    for place, said in enumerate(([0.0, 1.0], [1.0, 0.0])):
        sums.add(place, torch.tensor(said).view(1, 2, 1, 1), torch.zeros(1, 3, 1, 1))
    assert sums.probabilities().flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_the_deviation_is_of_the_members_own_probabilities_by_their_weights(kind):
    parts = members(3, 4)
    chosen = trained(kind, parts)
    with torch.no_grad():
        said = [combining.Said(i, part.probabilities(IMAGE), IMAGE) for i, part in enumerate(parts)]
        weights = torch.stack([chosen.weight(each).expand(-1, -1, 12, 10) for each in said])
        weights = weights / weights.sum(0)
        each = torch.stack([one.probabilities for one in said])
        expected = (weights * (each - (weights * each).sum(0)).square()).sum(0).sqrt()
        found = Ensemble(parts, combination=chosen, temperature=2.0).statistics(IMAGE).std
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_with_a_weight_a_class_members_disagree_by_the_mixture_that_sums_to_one():
    weights, said = torch.tensor([[0.75, 0.25], [0.25, 0.75]]), torch.tensor([[0.9, 0.1], [0.4, 0.6]])
    spread = Spread(Mean(2, 2, "multiclass", weights=weights))
    for place in range(2):
        spread.add(place, said[place].view(1, 2, 1, 1), torch.zeros(1, 3, 1, 1))
    mixture, nats = (weights * said).sum(0), torch.special.entr
    expected = nats(mixture / mixture.sum()).sum() - nats(said).sum() / 2
    torch.testing.assert_close(spread.statistics(1.0).mutual_information.flatten()[0], expected)


@torch.no_grad()
def test_a_gates_weight_is_two_convolutions_of_logits_entropy_and_image():
    parts = members(2, 4)
    gate, p = trained("gate", parts), parts[1].probabilities(IMAGE)
    seen = torch.cat([logits_of(p, "multiclass") / 4, entropy(p, "multiclass")[:, None], IMAGE], dim=1)
    first, _, last = gate.scores[1]
    expected = (4 * (last(first(seen).relu()) / 4).tanh()).exp()
    torch.testing.assert_close(gate.weight(combining.Said(1, p, IMAGE)), expected)


@pytest.mark.parametrize(("task", "maps"), [("multiclass", 3), ("multilabel", 3), ("binary", 1)])
def test_disagreement_with_a_weight_a_member_and_map_is_that_of_the_stack(task, maps):
    generator = torch.Generator().manual_seed(4)
    said = probabilities_of(torch.randn(4, 2, maps, 5, 6, generator=generator) * 2, task)
    weights = torch.rand(4, maps, generator=generator) + 0.1
    weights = weights / weights.sum(0)
    sums = Spread(Mean(4, maps, task, weights=weights))
    for place in (2, 0, 3, 1):  # in any order
        sums.add(place, said[place], IMAGE)
    found = sums.statistics(1.0)
    each = weights.view(4, 1, maps, 1, 1)
    mean = (each * said).sum(0)
    if task == "multiclass":
        share = weights.mean(1)  # of a member in the whole: the mean over its classes' weights
        own = (torch.special.entr(said).sum(2) * share.view(4, 1, 1, 1)).sum(0)
        whole = torch.special.entr(mean / mean.sum(1, keepdim=True)).sum(1)
    else:
        own = (each * (torch.special.entr(said) + torch.special.entr(1 - said))).sum(0).mean(1)
        whole = (torch.special.entr(mean) + torch.special.entr(1 - mean)).mean(1)
    torch.testing.assert_close(found.mutual_information, (whole - own).clamp_min(0), atol=2e-6, rtol=0)
    variance = (each * (said - mean) ** 2).sum(0)
    torch.testing.assert_close(found.std**2, variance, atol=1e-6, rtol=0)


def test_a_gate_of_grey_images_and_a_stack_of_one_map_are_the_smallest():
    gate = Gate(2, 1, "binary", channels=1)
    said = Said(0, torch.full((1, 1, 4, 4), 0.3), IMAGE[:1, :1, :4, :4])
    assert gate.weight(said).shape == (1, 1, 4, 4)
    assert Stack(2, 1, "binary", width=1).options() == {"width": 1}


def test_gradients_reach_every_member_through_the_sums():
    said = [torch.full((1, 1, 2, 2), value, requires_grad=True) for value in (0.2, 0.5, 0.7)]
    sums = Sums(Mean(3, 1, "binary"))
    for place, each in enumerate(said):
        sums.add(place, each, IMAGE[:1])
    sums.probabilities().square().sum().backward()
    for each in said:
        torch.testing.assert_close(each.grad, torch.full((1, 1, 2, 2), 2 * 1.4 / 3 / 3))
