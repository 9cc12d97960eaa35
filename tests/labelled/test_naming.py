from segkit.labelled.naming import class_order, image_names


def test_classes_are_sorted_as_text_or_as_numbers():
    assert class_order(["b", "B", "a", "a"]) == ("B", "a", "b")
    assert class_order(["10", "9", "01", "1"]) == ("01", "1", "9", "10")
    assert class_order(["10", "9", "x"]) == ("10", "9", "x")


def test_names_lose_their_suffix_where_they_stay_different():
    assert image_names(["a/1.png", "b/1.png"]) == ["a/1", "b/1"]
    assert image_names(["a/1.png", "a/1.jpg", "b/2.tar.png"]) == ["a/1.png", "a/1.jpg", "b/2.tar"]
    # without its suffix the last would be called as the first
    assert image_names(["1.png", "1.jpg", "1.png.bmp"]) == ["1.png", "1.jpg", "1.png.bmp"]
