import torch

from segkit.prediction.fingerprint import fingerprint
from segkit.prediction.predictor import Predictor


def of(model, *, threshold=0.5, kinds=("mask",), **settings):
    return fingerprint(Predictor(model, device="cpu", **settings), threshold=threshold, kinds=kinds)


def test_what_changes_the_outputs_changes_the_fingerprint(build):
    def model(**changes):
        return build(**{"task": "binary", "classes": ["background", "vessel"], **changes})

    found = [
        of(model()),
        of(model(), tile=64),
        of(model(), overlap=0.25),
        of(model(), tta="flip"),
        of(model(), precision="fp16"),
        of(model(), threshold=0.4),
        of(model(), kinds=("mask", "entropy")),
        of(model(window=(0, 9))),
        of(model(classes=["background", "cell"])),
    ]
    other = model()
    with torch.no_grad():
        other.scale += 1e-6
    found.append(of(other))
    assert len(set(found)) == len(found)


def test_how_fast_it_goes_is_no_part_of_it(build):
    model = build("binary", ["background", "vessel"])
    assert of(model) == of(model, batch=1) == of(build("binary", ["background", "vessel"]))


def test_low_precision_weights_count_too(build):
    models = [build("binary", ["background", "vessel"]).to(torch.bfloat16) for _ in range(2)]
    assert of(models[0]) == of(models[1])
    with torch.no_grad():
        models[1].scale += 1
    assert of(models[0]) != of(models[1])


def test_a_model_without_tensors_says_what_it_is(build):
    one, other = (build("binary", ["background", "vessel"]) for _ in range(2))
    one.digest, other.digest = "1", "2"
    assert of(one) != of(other)
