"""That the tables of docs/results.md are what the committed result files say."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
tables = importlib.import_module("result_tables")
sys.path.pop(0)
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_table_of_the_page_is_what_its_file_says(name):
    there = dict(tables.tables_of(PAGE))
    assert there[name] == tables.made(name)


def test_every_result_file_is_named_on_the_page_and_no_table_stands_there_twice():
    names = [name for name, _ in tables.tables_of(PAGE)]
    assert sorted(names) == sorted(tables.TABLES)
    results = {file.name for file in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert {name for name in results if f"benchmarks/results/{name}" not in PAGE} == set()


def test_a_figure_that_differs_from_its_file_is_found_and_put_right(monkeypatch, tmp_path, capsys):
    page = tmp_path / "results.md"
    page.write_text(PAGE.replace("0.7891", "0.9999"), encoding="utf-8")
    monkeypatch.setattr(tables, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["result_tables.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        tables.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "retina\n"
    monkeypatch.setattr(sys, "argv", ["result_tables.py"])
    tables.main()
    assert page.read_text(encoding="utf-8") == PAGE


def test_what_a_file_was_measured_on_comes_from_all_its_rows():
    first = {"processor": "A", "cores": "2", "torch": "2.15", "date": "2026-01-02"}
    rows = {"x": {"machine": first, "peers": {"timm": "1.0"}}, "y": [{"machine": {**first, "date": "2026-01-01"}}]}
    assert tables.measured(rows) == "A, 2 cores, torch 2.15; timm 1.0; 2026-01-01 to 2026-01-02."


def test_the_mean_of_seeds_has_the_deviation_of_samples():
    assert tables.with_spread([1.0, 2.0, 3.0]) == "2.000 ± 1.000"
    assert tables.with_spread([0.5], 2) == "0.50"
    assert tables.with_spread([]) == ""


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """The sweep over two benchmarks, of which one writes its result and the other one fails."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("run_all")
    benchmarks, results = tmp_path / "benchmarks", tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    writes = "import pathlib, sys\nplace = pathlib.Path('benchmarks/results/good.json')\n"
    writes += "assert not place.exists() or sys.argv[2:] == ['again']\n"
    (benchmarks / "good.py").write_text(writes + "place.write_text('[\"' + sys.argv[1] + '\"]')\nprint('well')\n")
    (benchmarks / "bad.py").write_text("print('before it fell')\nraise SystemExit(1)\n")
    (benchmarks / "result_tables.py").write_text("open('tables', 'w').close()\n")
    for name in ("good", "bad"):
        (results / f"{name}.json").write_text('["old"]')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "HERE", benchmarks)
    monkeypatch.setattr(module, "RESULTS", results)
    calls = {"good": module.Benchmark(1, ("DATA/drive", "DATA/tools again")), "bad": module.Benchmark(1)}
    monkeypatch.setattr(module, "BENCHMARKS", calls)
    return module, results


def test_a_sweep_makes_results_anew_and_puts_back_those_of_what_fails(sweep, monkeypatch, tmp_path, capsys):
    module, results = sweep
    monkeypatch.setattr(sys, "argv", ["run_all.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"failed, their result files are as they were: bad; see runs/NAME\.log"):
        module.main()
    assert json.loads((results / "good.json").read_text()) == [str(tmp_path / "tools")]
    assert json.loads((results / "bad.json").read_text()) == ["old"]
    assert sorted(file.name for file in results.iterdir()) == ["bad.json", "good.json"]
    assert (tmp_path / "runs" / "bad.log").read_text() == "before it fell\n"
    assert (tmp_path / "tables").is_file()
    assert "good: done" in capsys.readouterr().out


def test_a_sweep_without_its_data_starts_nothing(sweep, monkeypatch, tmp_path, capsys):
    module, results = sweep
    monkeypatch.setattr(sys, "argv", ["run_all.py", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        module.main()
    assert "none: not a folder; the one that holds the datasets was expected" in capsys.readouterr().err
    assert json.loads((results / "good.json").read_text()) == ["old"]


def test_every_benchmark_of_the_sweep_is_there():
    module = importlib.import_module("run_all")
    assert {name for name in module.BENCHMARKS if not (ROOT / "benchmarks" / f"{name}.py").is_file()} == set()
