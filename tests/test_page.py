"""Pages hold their pictures, and titles that can't be taken for HTML."""

import base64

import cv2
import numpy as np

from segkit.page import document, embedded, figure

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


def decoded(url):
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def test_a_picture_is_inside_as_it_is():
    assert embedded(PICTURE).startswith("data:image/png;base64,")
    np.testing.assert_array_equal(decoded(embedded(PICTURE)), PICTURE)


def test_a_photo_is_nearly_as_it_is():
    smooth = cv2.resize(PICTURE, (70, 50))
    assert embedded(smooth, photo=True).startswith("data:image/jpeg;base64,")
    assert np.abs(decoded(embedded(smooth, photo=True)).astype(int) - smooth).mean() < 6


def test_titles_and_captions_are_escaped():
    assert "<title>a &lt; b</title>" in document("a < b", "<p>c</p>")
    assert "<p>c</p>" in document("a < b", "<p>c</p>")
    assert 'alt="a &lt; b"><figcaption>a &lt; b</figcaption>' in figure(PICTURE, "a < b", "a < b")
