import nibabel
import numpy as np
import pytest

from segkit.data.geometry import Geometry
from segkit.data.slices import PLANES
from segkit.measuring import volume_preview
from segkit.measuring.volume_preview import MARGIN, TALLEST, WIDTH, draw_volume_preview

PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
SHAPE = (24, 30, 20)
RAS = np.diag([1.0, 1.0, 1.5, 1.0])


def shown(values, labels, affine=RAS, **how):
    return volume_preview._Shown(
        values.reshape(*labels.shape[-3:], -1), labels, Geometry(labels.shape[-3:], affine), PALETTE, 0, False, **how
    )


def oriented(volume, affine, codes):
    """The same volume with its axes in the order and the directions of codes such as ``PSL``."""
    wanted = nibabel.orientations.axcodes2ornt(codes)
    change = nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(affine), wanted)
    turned = nibabel.orientations.apply_orientation(volume, change)
    return turned, affine @ nibabel.orientations.inv_ornt_aff(change, volume.shape)


def marked(*boxes):
    labels = np.zeros(SHAPE, np.uint8)
    for label, box in enumerate(boxes, start=1):
        labels[box] = label
    return labels


LEFT = (slice(1, 4), slice(20, 28), slice(14, 18))  # of a RAS volume: to the patient's left, front and top


def test_what_is_at_the_left_front_top_is_at_the_right_up_of_an_axial_slice():
    labels = marked(LEFT)
    how = shown(np.zeros(SHAPE, np.float32), labels)
    centres = {}
    for plane in PLANES:
        drawn = how.slice(plane, how.middle[how.axis(plane)], 4.0)
        rows, columns = np.nonzero(drawn[..., 0])
        centres[plane] = (rows.mean() / drawn.shape[0], columns.mean() / drawn.shape[1])
    assert centres["axial"][0] < 0.4  # front: up
    assert centres["axial"][1] > 0.8  # left: right
    assert centres["coronal"][0] < 0.4  # top: up
    assert centres["coronal"][1] > 0.8
    assert centres["sagittal"][0] < 0.4
    assert centres["sagittal"][1] < 0.4  # front: left


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PSL", "SAR", "IRA", "ASL"])
def test_however_the_file_has_its_axes_the_picture_is_the_same(codes):
    rng = np.random.default_rng(0)
    values = rng.random(SHAPE).astype(np.float32)
    labels = marked(LEFT, (slice(10, 21), slice(5, 10), slice(3, 10)))  # odd, so that a voxel is its middle
    expected = draw_volume_preview(values, labels, Geometry(SHAPE, RAS), PALETTE, 0, "multiclass")
    turned, affine = oriented(values, RAS, codes)
    found, _ = oriented(labels, RAS, codes)
    drawn = draw_volume_preview(turned, found, Geometry(turned.shape, affine), PALETTE, 0, "multiclass")
    first = 2 * MARGIN + round(30 * 12.0)  # the second row has numbers, which go by the file
    assert drawn.shape == expected.shape
    assert np.array_equal(drawn[:first], expected[:first])


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PSL", "IRA"])
def test_letters_say_where_the_patients_sides_are(codes):
    _, affine = oriented(np.zeros(SHAPE), RAS, codes)
    shape = oriented(np.zeros(SHAPE), RAS, codes)[0].shape
    how = shown(np.zeros(shape, np.float32), np.zeros(shape, np.uint8), affine)
    assert how.letters("axial") == {"above": "A", "below": "P", "left": "R", "right": "L"}
    assert how.letters("coronal") == {"above": "S", "below": "I", "left": "R", "right": "L"}
    assert how.letters("sagittal") == {"above": "S", "below": "I", "left": "A", "right": "P"}


def test_letters_are_drawn_beside_the_slices_only_where_the_place_is_known():
    how = (np.zeros(SHAPE, np.float32), marked(LEFT), Geometry(SHAPE, RAS), PALETTE, 0, "multiclass")
    located, unlocated = draw_volume_preview(*how), draw_volume_preview(*how, located=False)
    assert located[:MARGIN].any()
    assert not unlocated[:MARGIN].any()
    changed = located[(located != unlocated).any(-1)]
    assert (changed == changed[:, :1]).all()  # grey
    assert np.array_equal(located[-3 * MARGIN :], unlocated[-3 * MARGIN :])  # the numbers of the slices below


def test_a_frame_has_its_letters_in_the_margin():
    picture = np.full((50, 80, 3), 9, np.uint8)
    framed = volume_preview._framed(picture, above="A", below="P", left="R", right="L")
    assert framed.shape == (50 + 2 * MARGIN, 80 + 2 * MARGIN, 3)
    assert np.array_equal(framed[MARGIN:-MARGIN, MARGIN:-MARGIN], picture)
    bright = framed.max(-1) > 100
    for side in (bright[:MARGIN], bright[-MARGIN:], bright[:, :MARGIN], bright[:, -MARGIN:]):
        assert side.any()
    rows, columns = np.nonzero(bright[:, :MARGIN])
    assert abs(rows.mean() - 25 - MARGIN) < 4
    assert abs(columns.mean() - MARGIN / 2) < 4


def test_slices_have_the_aspect_of_their_spacing_and_one_scale():
    values, labels = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    how = shown(values, labels, np.diag([1.0, 2.0, 5.0, 1.0]))
    assert how.slice("axial", 3, 3.0).shape == (180, 72, 3)
    assert how.slice("coronal", 3, 3.0).shape == (300, 72, 3)
    assert how.slice("sagittal", 3, 3.0).shape == (300, 180, 3)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.4, 0.4, 6), (5, 0.5, 0.5), (40, 1, 1)])
@pytest.mark.parametrize("shape", [(24, 30, 20), (64, 64, 3), (64, 64, 1), (5, 1, 5), (1, 1, 1), (7, 1, 1)])
def test_the_picture_is_of_bounded_size_whatever_the_volume(shape, spacing):
    labels = np.zeros(shape, np.uint8)
    labels[shape[0] // 2, shape[1] // 2] = 1
    drawn = draw_volume_preview(
        np.zeros(shape, np.float32), labels, Geometry(shape, np.diag([*map(float, spacing), 1.0])), PALETTE, 0, "binary"
    )
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] <= WIDTH + 3
    assert drawn.shape[0] <= 1.5 * TALLEST + 4 * MARGIN + 2


def test_the_planes_lead_through_the_largest_piece_even_where_its_centre_is_outside_of_it():
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[5:25, 5:25, 10:20] = 1
    labels[7:23, 7:23, 10:20] = 0  # a tube
    labels[0:3, 0:3, 0:3] = 2
    how = shown(np.zeros(labels.shape, np.float32), labels)
    assert labels[how.middle] == 1
    assert how.middle[2] in (14, 15)


def test_they_lead_through_the_middle_where_nothing_is_found_or_all_is_foreground():
    empty = np.zeros((5, 6, 8), np.uint8)
    assert shown(np.zeros(empty.shape, np.float32), empty).middle == (2, 3, 4)
    geometry = Geometry((5, 6, 8), np.eye(4))
    full = volume_preview._Shown(np.zeros((5, 6, 8, 1), np.float32), empty, geometry, PALETTE, None, False)
    assert full.middle == (2, 3, 4)


def test_slices_below_are_spread_over_what_was_found_and_hang_from_the_feet_up():
    labels = np.zeros((10, 10, 40), np.uint8)
    labels[4, 4, 10:31] = 1
    assert shown(np.zeros(labels.shape, np.float32), labels).spread("axial") == [10, 14, 18, 22, 26, 30]
    downwards = np.diag([1.0, 1.0, -1.0, 1.0])
    assert shown(np.zeros(labels.shape, np.float32), labels, downwards).spread("axial") == [30, 26, 22, 18, 14, 10]
    labels[..., 13:] = 0
    assert shown(np.zeros(labels.shape, np.float32), labels).spread("axial") == [10, 11, 12]


def test_classes_that_overlap_are_drawn_over_one_another():
    labels = np.zeros((2, 10, 10, 10), np.uint8)
    labels[0, 2:6], labels[1, 4:8] = 1, 1
    geometry = Geometry((10, 10, 10), np.eye(4))
    how = volume_preview._Shown(np.zeros((10, 10, 10, 1), np.float32), labels, geometry, PALETTE[1:], None, True)
    drawn = how.slice("axial", 5, 1.0)[4, ::-1]  # from the left to the right of the patient
    assert drawn[0].tolist() == [0, 0, 0]
    assert drawn[3].tolist() == [102, 0, 0]
    assert drawn[6].tolist() == [0, 102, 0]
    picture = draw_volume_preview(np.zeros((10, 10, 10), np.float32), labels, geometry, PALETTE[1:], None, "multilabel")
    assert picture[..., :2].any((0, 1)).all()


def test_colours_are_kept_and_grey_is_grey():
    values = np.zeros((8, 8, 8, 3), np.float32)
    values[..., 1] = 1
    drawn = shown(values, np.zeros((8, 8, 8), np.uint8)).slice("axial", 0, 1.0)
    assert drawn.reshape(-1, 3).tolist() == [[0, 255, 0]] * 64
    grey = shown(np.full((8, 8, 8), 0.2, np.float32), np.zeros((8, 8, 8), np.uint8)).slice("axial", 0, 1.0)
    assert (grey == 51).all()


def test_a_real_volume_has_its_front_part_in_front(shared):
    folder = shared / "msd_hippocampus_nifti"
    path = sorted((folder / "masks").iterdir())[0]
    mask = nibabel.load(path)
    labels = np.asarray(mask.dataobj).astype(np.uint8)
    image = np.asarray(nibabel.load(folder / "images" / path.name).dataobj, np.float32)
    how = shown(image / image.max(), labels, mask.affine)
    drawn = how.slice("sagittal", how.middle[how.axis("sagittal")], 5.0).astype(int)
    front, back = (drawn[..., 0] - drawn[..., 2] > 60, drawn[..., 1] - drawn[..., 2] > 60)  # red, green
    assert np.nonzero(front)[1].mean() < np.nonzero(back)[1].mean()
