"""Labelled images from a path, in whatever layout they are there."""

from pathlib import Path

from segkit.errors import DataError
from segkit.labelled.images import LabelledImages
from segkit.labelled.splits import with_validation

LAYOUTS = (
    "folders of classes (CLASS/…, or train/CLASS/…, val/CLASS/…, test/CLASS/…), a labels.csv (file,label[,split]), "
    "CIFAR's files, or archives of JPEGs (*_train_*.npz, *_val_*.npz, *_test_*.npz)"
)


def open_labelled(path: str | Path) -> LabelledImages:
    """Return the labelled images at a path: a folder in one of these layouts, a CSV list, or an archive of JPEGs.

    - ``labels.csv``, or any CSV file that is named itself: :func:`segkit.labelled.csv_list.open_csv`;
    - Tiny-ImageNet: :func:`segkit.labelled.tiny_imagenet.open_tiny_imagenet`;
    - CIFAR-10 and CIFAR-100: :func:`segkit.labelled.cifar.open_cifar`;
    - archives of JPEGs: :func:`segkit.labelled.jpeg_archive.open_archives`;
    - folders of classes: :func:`segkit.labelled.folders.open_folders`.

    Where there is no split ``val``, a tenth of each class of ``train`` becomes one. What was decided is in ``notes``.

    Raises:
        DataError: there is nothing at the path, or it has none of these layouts; what was found is named.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return with_validation(_opened(path))


def _opened(path: Path) -> LabelledImages:
    from segkit.labelled.cifar import cifar_folder, open_cifar
    from segkit.labelled.csv_list import open_csv
    from segkit.labelled.folders import open_folders
    from segkit.labelled.jpeg_archive import archives_in, open_archives
    from segkit.labelled.tiny_imagenet import ANNOTATIONS, open_tiny_imagenet

    if path.is_file():
        if path.suffix.lower() in (".csv", ".tsv"):
            return open_csv(path)
        if path.suffix.lower() == ".npz":
            return open_archives(path)
        hint = "unpack it and name the folder" if path.suffix.lower() in (".gz", ".tgz", ".tar", ".zip") else ""
        raise DataError(f"{path}: {hint or f'expected a folder, a .csv or a .npz; a folder has {LAYOUTS}'}")
    if (path / "labels.csv").is_file():
        return open_csv(path / "labels.csv")
    if (path / ANNOTATIONS).is_file():
        return open_tiny_imagenet(path)
    if (cifar := cifar_folder(path)) is not None:
        return open_cifar(cifar)
    if archives_in(path):
        return open_archives(path)
    for beside in ("masks", "depth"):
        if (path / "images").is_dir() and (path / beside).is_dir():
            what = "a dataset for segmentation, where" if beside == "masks" else "pictures and their depth, and"
            raise DataError(f"{path}: images/ and {beside}/ are {what} images have no one label")
    try:
        return open_folders(path)
    except DataError as error:
        lists = sorted(file.name for file in path.glob("*.csv"))
        if lists and "no folders with images" in str(error):
            raise DataError(f"{path}: has no labels.csv, but {lists[0]}; name that file itself") from None
        raise
