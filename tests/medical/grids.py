"""Grids in space as no one would choose them, and SimpleITK's opinion on where files put them."""

import numpy as np
import SimpleITK as sitk  # noqa: N813

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def random_grids(count, seed=0):
    """Shapes and affines (RAS+): rotated any way, every second one mirrored, with spacings from 0.2 to 6 mm."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        if (np.linalg.det(directions) < 0) != (number % 2 == 1):
            directions[:, 0] *= -1
        affine = np.eye(4)
        affine[:3, :3] = directions * np.exp(rng.uniform(np.log(0.2), np.log(6), 3))
        affine[:3, 3] = rng.uniform(-200, 200, 3)
        yield tuple(int(length) for length in rng.integers(2, 9, 3)), affine


def itk_image(values, affine):
    """SimpleITK's image of [I, J, K] or [I, J, K, C]."""
    lps = TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.moveaxis(values, (0, 2), (2, 0)), isVector=values.ndim == 4)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def itk_affine(image):
    """The affine (RAS+) of SimpleITK's image."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return TO_LPS @ affine


def draw(volume, rng, points=5):
    """Points (RAS+, mm) within a volume, and labels [I, J, K] that are 1, 2, … at the voxels nearest to them."""
    labels = np.zeros(volume.geometry.shape, np.uint8)
    chosen = []
    while len(chosen) < points:
        index = rng.uniform(-0.49, np.array(volume.geometry.shape) - 0.51)
        point = (volume.geometry.affine @ [*index, 1])[:3]
        nearest = tuple(np.rint(np.linalg.inv(volume.geometry.affine) @ [*point, 1])[:3].astype(int))
        if labels[nearest] == 0:
            chosen.append(point)
            labels[nearest] = len(chosen)
    return np.array(chosen), labels


def check_drawn(path, points):
    """The labels 1, 2, … are within half a voxel of their points, as SimpleITK reads the file."""
    image = sitk.ReadImage(str(path))
    assert int((sitk.GetArrayFromImage(image) > 0).sum()) == len(points)
    for label, point in enumerate(points, start=1):
        lps = (TO_LPS @ [*point, 1])[:3].tolist()
        index = image.TransformPhysicalPointToIndex(lps)
        assert image[index] == label
        away = np.abs(np.array(image.TransformPhysicalPointToContinuousIndex(lps)) - index)
        assert away.max() <= 0.5 + 1e-4
