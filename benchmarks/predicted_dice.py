"""How well a model, and an ensemble of three, foretells the Dice of its own masks on held-out pictures.

    python benchmarks/predicted_dice.py [--camvid CAMVID] [--nuclei NUCLEI] [--runs runs]

Both are dataset folders. The networks are those of ``segkit init``, three seeds each, which together are the ensemble;
the first of them is the single model. Correlations are Pearson's, of the Dice that ``segkit trust`` has learnt to
expect of a picture (mean over its classes) with its true one.

CamVid is trained on ``train``, for the epochs that ``init`` gives five minutes of train and val. Its rows: fitted on
``val`` and judged there, each picture held out of its fit; the same fit judged on ``test``, and on each of its two
drives alone, of which the first (``0001TP``) goes on where ``train`` ends, and the other is of streets never seen;
fitted on ``test`` and judged there, each tenth, in the order of the pictures, held out of its fit.

The nuclei are so few that all are used: networks of the epochs of a minute and a half are trained five times, without a
fifth of all pictures each (``--folds 5``), and every picture is predicted by the three that weren't trained on it. Its
Dice is expected by a fit on the others' tenths.

Beside each stands what single signs would say: the Dice that follows if probabilities are right, entropy, disagreement.
What is finished is not made again; about 45 minutes on two cores.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import read, write
from machine import machine
from numpy.typing import NDArray
from whole_run import whole

import segkit
from segkit.data.folder import DatasetFolder, Sample
from segkit.fitting.trust import GOOD, RISK, signs_and_dice
from segkit.recipe import Recipe
from segkit.recipe_file import load_recipe
from segkit.suggestion.suggest import suggest
from segkit.training.plan import make_plans
from segkit.trusting.quality import fit_quality
from segkit.trusting.signs import SIGNS

RESULTS = Path(__file__).parent / "results" / "predicted_dice.json"
SEEDS, FOLDS, BLOCKS = 3, 5, 10
MINUTES = {"camvid": 5.0, "nuclei": 1.5}
ALONE = ("expected_dice", "entropy", "disagreement")  # signs that are held against the truth by themselves

Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path)
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    if arguments.nuclei:
        measure("nuclei", arguments.nuclei, arguments.runs)
    if arguments.camvid:
        measure("camvid", arguments.camvid, arguments.runs)


def measure(kind: str, data: Path, runs: Path) -> None:
    """The rows of one dataset, unless they are there."""
    folder = segkit.open_dataset(data)
    for system in ("ensemble", "single"):
        key = f"{folder.name}, {system}"
        if key not in read(RESULTS):
            model, recipe = trained(kind, folder, runs)
            rows = of_camvid if kind == "camvid" else of_nuclei
            write(RESULTS, key, rows(model, recipe, folder, members=SEEDS if system == "ensemble" else 1))
        print(key, json.dumps(read(RESULTS)[key]), flush=True)


def trained(kind: str, folder: DatasetFolder, runs: Path) -> tuple[segkit.Ensemble, Recipe]:
    """All networks, as one ensemble, and their recipe."""
    file = runs / f"predicted_{kind}.yaml"
    if not file.is_file():  # it times the machine, so that another might not be the same
        suggest(folder.path, hours=MINUTES[kind] / 60).save(file)
    splits = "[train]" if kind == "camvid" else f"[{', '.join(folder.splits)}]"
    asked = [f"name=predicted_{kind}", f"data.train_on={splits}", "data.validate_on=null", "train.keep=last"]
    asked += [f"seeds={SEEDS}", *(["folds=5"] if kind == "nuclei" else [])]
    recipe = load_recipe(file, asked, data=folder.path)
    assert recipe.ensemble is None, "the time has room for several networks; take less"
    run = runs / recipe.name
    if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
        whole(segkit.train(recipe, out=runs, resume=run.is_dir()))
    model = segkit.load(run / "model")
    assert isinstance(model, segkit.Ensemble)
    return model, recipe


def of_camvid(model: segkit.Ensemble, recipe: Recipe, folder: DatasetFolder, *, members: int) -> dict[str, Any]:
    """Fitted on val, judged there and on test; fitted on test by blocks of its sequence."""
    predictor = predictor_of(model, range(members), recipe)
    found = {split: signs_and_dice(predictor, folder, folder.samples(split)) for split in ("val", "test")}
    signs, dice = found["test"]
    fit = fit_quality(SIGNS, *found["val"], np.arange(len(found["val"][1])), good=GOOD, risk=RISK)
    expected = np.array([fit.predicted(each) for each in signs])
    blocks = np.arange(len(dice)) * BLOCKS // len(dice)
    near = np.array([sample.name.startswith("0001TP") for sample in folder.samples("test")])
    drives = {"test": near | ~near, "test's drive that train has too": near, "test's other drive": ~near}
    return {
        "val, each held out of its fit": figures(*found["val"], units=None),
        **{
            f"{name}, by the fit on val": {**alone(signs[own], dice[own]), **against(expected[own], dice[own])}
            for name, own in drives.items()
        },
        "test, each tenth held out of its fit": figures(signs, dice, units=blocks),
        "machine": machine(),
    }


def of_nuclei(model: segkit.Ensemble, recipe: Recipe, folder: DatasetFolder, *, members: int) -> dict[str, Any]:
    """Every picture by the members that weren't trained on it, its Dice by a fit on other pictures."""
    plans = make_plans(recipe, folder)
    signs, dice = [], []
    for fold in range(FOLDS):
        own = [place for place, plan in enumerate(plans) if plan.member.fold == fold]
        held_out: list[Sample] = plans[own[0]].held_out
        found = signs_and_dice(predictor_of(model, own[:members], recipe), folder, held_out)
        signs.append(found[0])
        dice.append(found[1])
    whole_signs, whole_dice = np.concatenate(signs), np.concatenate(dice)
    return {
        "all pictures, each held out of its fit": figures(whole_signs, whole_dice, units=None),
        "machine": machine(),
    }


def predictor_of(model: segkit.Ensemble, places: Any, recipe: Recipe) -> segkit.Predictor:
    """Of some of the members: their mean, or the only one."""
    chosen: list[Any] = [model.members[place] for place in places]
    together = segkit.Ensemble(chosen) if len(chosen) > 1 else chosen[0]
    together.about = {"predict": recipe.predict.model_dump()}
    torch.manual_seed(0)
    return segkit.Predictor(together.eval())


def figures(signs: Array, dice: Array, units: NDArray[np.int64] | None) -> dict[str, Any]:
    """Of pictures whose Dice is expected by fits that they, and their unit, are held out of."""
    units = np.arange(len(dice)) if units is None else units
    fit = fit_quality(SIGNS, signs, dice, units, good=GOOD, risk=RISK)
    assert fit.correlation is not None
    return {
        **alone(signs, dice),
        "correlation": round(fit.correlation, 3),
        "mean error": round(fit.mean_error, 4),
    }


def against(expected: Array, dice: Array) -> dict[str, float]:
    return {
        "correlation": round(float(np.corrcoef(expected, dice)[0, 1]), 3),
        "mean error": round(float(np.abs(expected - dice).mean()), 4),
    }


def alone(signs: Array, dice: Array) -> dict[str, Any]:
    """How many pictures, their true Dice, and the correlation of single signs with it."""
    assert np.isfinite(dice).all(), "a picture without anything to find has no Dice"
    varied = {name: signs[:, SIGNS.index(name)] for name in ALONE if signs[:, SIGNS.index(name)].std() > 0}
    return {
        "images": len(dice),
        "dice": round(float(dice.mean()), 4),
        "spread of dice": round(float(dice.std()), 4),
        "signs alone": {name: round(float(np.corrcoef(sign, dice)[0, 1]), 3) for name, sign in varied.items()},
    }


if __name__ == "__main__":
    main()
