import pytest

from segkit.errors import DataError
from segkit.yaml_text import parse_keys, read_yaml, yaml_of


def test_names_stay_as_they_are_written():
    text = "splits: {train: [0010, 1_2, 2024-01-05, 1.50, no, a], 07: [b]}\nseed: 0010\n"
    found = parse_keys(text, "x.yaml", "'splits:'", DataError, names=("splits",))
    assert found == {"splits": {"train": ["0010", "1_2", "2024-01-05", "1.50", "no", "a"], "07": ["b"]}, "seed": 8}
    assert read_yaml("") is None
    assert read_yaml("[1, 2024-01-05]")[0] == 1


def test_numbers_with_an_exponent_are_numbers_and_text_like_them_comes_back():
    assert read_yaml("[1e-5, 2E+3, -1e2, 1.5e-3]") == [1e-5, 2000, -100, 1.5e-3]
    told = ["3e4_lr", "12e4c", "1e3/data", "2e", "1e5", "1e-5", "12"]
    assert read_yaml(f"[{', '.join(told[:4])}]") == told[:4]
    assert read_yaml(yaml_of({"b": told, "a": 1e-5})) == {"b": told, "a": 1e-5}
    assert yaml_of({"b": 1, "a": 2}) == "b: 1\na: 2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml: line 3: not valid YAML: 'a' is there twice"),
        ("groups:\n  p: [a]\n  p: [b]\n", "x.yaml: line 3: not valid YAML: 'p' is there twice"),
        ("day: 2024-02-30\n", "x.yaml: not valid YAML: day is out of range"),
        ("a: [1\n", "x.yaml: line 2: not valid YAML"),
        ("[a]", "x.yaml: expected keys like 'a:', found a list"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(DataError) as found:
        parse_keys(text, "x.yaml", "'a:'", DataError)
    assert str(found.value).startswith(message)


def test_keys_that_are_merged_in_are_not_there_twice():
    text = "base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  a: 3\n"
    assert read_yaml(text)["more"] == {"a": 3, "b": 2}


def test_values_used_again_and_again_by_their_names_take_no_time():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    found = parse_keys("\n".join(lines), "x.yaml", "'a:'", DataError, names=[f"a{i}" for i in range(30)])
    assert found["a1"] == [["1"] * 10] * 10
