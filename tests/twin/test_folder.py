"""A run never overwrites what is not a run of ours."""

from pathlib import Path

import pytest

from twin.exits import UsageError
from twin.folder import MARK, prepare


def test_a_folder_that_is_not_ours_is_kept_even_with_force(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UsageError, match="--out"):
            prepare(tmp_path, "s", force=force)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_earlier_run_is_replaced_only_with_force(tmp_path: Path) -> None:
    out = prepare(tmp_path / "run", "s", force=False)
    (out / "report.html").write_text("old")
    with pytest.raises(UsageError, match="--force"):
        prepare(out, "s", force=False)
    prepare(out, "s", force=True)
    assert [path.name for path in out.iterdir()] == [MARK]


def test_default_names_count_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [prepare(None, "homes", force=False).as_posix() for _ in range(2)] == ["runs/homes-1", "runs/homes-2"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        prepare(tmp_path / "out", "s", force=True)
