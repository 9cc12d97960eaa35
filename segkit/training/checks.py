"""What of a training can be refused before its first step, beyond what each plan says by itself."""

from collections.abc import Sequence

from segkit.artifact import AnyModel
from segkit.data.cases import Case
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.picture import open_picture
from segkit.errors import RecipeError
from segkit.medical.slide import without_resolution
from segkit.postprocessing.targets import check as check_postprocessing
from segkit.postprocessing.targets import check_units
from segkit.recipe import PredictRecipe
from segkit.training.plan import Plan


def check_predict(predict: PredictRecipe, folder: DatasetFolder, mpp: float | None) -> None:
    """Raise RecipeError where how to predict has no meaning for a dataset."""
    if folder.task == "multiclass" and predict.threshold != 0.5:
        raise RecipeError(
            f"predict.threshold={predict.threshold:g}: of several classes each pixel gets the most probable; leave it "
            "out (predict.postprocess.thresholds has one a class)"
        )
    if predict.postprocess is not None:
        check_postprocessing(predict.postprocess, folder.task, folder.classes, folder.background)
        images = [sample.image for sample in folder.files.values() if not sample.volume]
        asked = mpp is None and predict.postprocess.in_millimetres  # then each file's header is read
        measured = not (asked and without_resolution(images))
        check_units(predict.postprocess, volumes=len(images) < len(folder.files), measured=measured)


def check_readers(plans: Sequence[Plan], teacher: AnyModel | None) -> None:
    """Raise RecipeError where members, or a teacher, would look at the pictures in different ways."""
    mpp = plans[0].reader.mpp
    if teacher is not None and teacher.reader.mpp != mpp:
        raise RecipeError(
            f"the teacher looks at pictures at {_microns(teacher.reader.mpp)}, the recipe at {_microns(mpp)}; take the "
            "teacher's as data.mpp"
        )
    for plan in plans[1:]:
        if plan.reader.of_images != plans[0].reader.of_images:
            raise RecipeError(
                f"members {plan.member.name!r} and {plans[0].member.name!r} differ in "
                f"{plan.reader.of_images.differences(plans[0].reader.of_images)}; an "
                "ensemble's members take the same data.channels, window, slices and mpp"
            )


def check_volumes(predict: PredictRecipe, plans: Sequence[Plan]) -> None:
    """Raise RecipeError where masks' steps are in millimetres, and a volume doesn't say how large its voxels are."""
    if predict.postprocess is None or not predict.postprocess.in_millimetres:
        return
    for plan in plans:
        for sample in (*plan.samples, *plan.validation):
            if sample.volume and not case_of(plan, sample).spaced:
                raise RecipeError(
                    f"predict.postprocess: sizes in mm, but nothing says how large the voxels of {sample.image} are; "
                    "give them in px"
                )


def check_validation(plans: Sequence[Plan]) -> None:
    """Read the masks to score, so that a wrong one is found before the first step and not after the first epochs."""
    known: set[str] = set()
    for plan in plans:
        for sample in plan.validation:
            if sample.volume or plan.reader.mpp is not None or sample.name in known:
                continue
            known.add(sample.name)
            height, width, _ = open_picture(sample.image).shape
            plan.dataset.folder.read_mask(sample, (height, width))


def case_of(plan: Plan, sample: Sample) -> Case:
    """A volume as a plan's model sees it; it is read once."""
    return plan.dataset.folder.cases.case(sample, plan.reader)


def _microns(mpp: float | None) -> str:
    return "their own resolution" if mpp is None else f"{mpp:g} microns per pixel"
