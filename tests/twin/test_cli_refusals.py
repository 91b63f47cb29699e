"""Bad input on the command line: each ends with its status and one plain message that says where and how to mend it."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from twin.cli.app import call
from twin.cli.later import LATER

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"
HOMES = ROOT / "examples" / "data" / "homes"

Vpptwin = Callable[..., subprocess.CompletedProcess[str]]
Cli = Callable[..., str]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """`cli(2, "run", site)` calls the command line in this process, wants exit 2 and gives what it said on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(status: int, *words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["vpptwin", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            call()
        said = capsys.readouterr().err
        assert ended.value.code == status, said
        assert "Traceback" not in said
        return said

    return run


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Path]:
    """`site(("kind: meter", "kind: metre"))` is a copy of two-homes.yaml with these replacements made."""

    def write(*changes: tuple[str, str]) -> Path:
        text = SITE.read_text(encoding="utf-8").replace("../data/homes", str(HOMES))
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / "site.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder to damage."""
    folder = tmp_path / "data"
    shutil.copytree(HOMES, folder)
    return folder


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


# The site file


def test_all_errors_of_a_site_come_at_once_with_file_line_and_field(
    vpptwin: Vpptwin, cli: Cli, site: Callable[..., Path], tmp_path: Path
) -> None:
    path = site(
        ("tick_s: 60", "tick_s: soon"),
        ("lease_s: 180", "leese_s: 180"),
        ("port: 15041", "port: 15040"),
        (
            "id: pv-2, kind: pv, party: home-2, link: roof-2, unit: 1",
            "id: pv-1, kind: pv, party: home-2, link: roof-2, unit: 2",
        ),
    )
    out = tmp_path / "out"
    done = vpptwin("check", path, expect=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    found = {
        (int(match[1]), match[2]): match[3] for match in re.finditer(r"site\.yaml:(\d+) ([^:\s]+): (.+)", done.stderr)
    }
    time, links = line_of(path, "tick_s"), line_of(path, "id: roof-2")
    assert "soon" in found[time, "time.tick_s"]
    assert "lease_s" in found[time, "time.leese_s"], "the field that was meant"
    assert "15040" in found[links, "links[1].port"]
    assert "roof-1" in found[links, "links[1].port"]
    pv, battery = line_of(path, "id: pv-1, kind: pv, party: home-2"), line_of(path, "id: bat-2")
    assert "pv-1" in found[pv, "devices[4].id"]
    assert any("roof-2" in what for (line, _), what in found.items() if line in (pv, battery, battery + 4)), found
    for words in (("run", path, "--out", out), ("devices", path), ("serve", path, "--out", out)):
        assert cli(2, *words) == done.stderr
    assert not out.exists(), "nothing is made before everything is checked"


def test_a_site_file_that_is_not_there_or_no_yaml(cli: Cli, tmp_path: Path) -> None:
    assert "no such file" in cli(2, "run", "nowhere.yaml")
    assert "cannot be read" in cli(2, "check", tmp_path)
    (tmp_path / "broken.yaml").write_text("site: [", encoding="utf-8")
    assert "broken.yaml:" in cli(2, "check", "broken.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\x00\xff\xfe\x80")
    assert "bytes.yaml" in cli(2, "check", "bytes.yaml")


# Data


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def cut_in_a_line(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:60_009]))


def a_word_for_a_number(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b",0.851167,", b",abc,")))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, r"dataset\.yaml:\d+ files\[0\]\.file: no file home-1\.csv\.gz; put it beside"),
        (truncated, r"home-1\.csv\.gz:\d+: truncated or damaged here .*; fetch or write the file again"),
        (cut_in_a_line, r"home-1\.csv\.gz:\d+: .*fetch or write the file again"),
        (a_word_for_a_number, r"home-1\.csv\.gz:3 load_kwh: 'abc' is no number"),
    ],
)
def test_data_that_is_missing_or_damaged_is_named_before_the_run(
    cli: Cli, data: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(data / "home-1.csv.gz")
    for words in (("check", SITE), ("run", SITE, "--out", tmp_path / "out")):
        assert re.search(said, cli(2, *words, "--data", data))
    assert not (tmp_path / "out").exists()


def test_a_data_folder_that_is_none_says_what_belongs_there(cli: Cli, tmp_path: Path) -> None:
    assert "a data folder needs a dataset.yaml" in cli(2, "run", SITE, "--data", tmp_path)


# The call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--days", "1", "--hours", "1"), "both --days and --hours"),
        (("--hours", "nan"), "--hours"),
        (("--hours", "-1"), "--hours"),
        (("--days", "inf"), "hours"),
        (("--days", "1e7"), "hours"),
        (("--hours", "1", "--start", "2030-01-01"), "is outside the data, 2016-08-01 00:00 to 2017-04-01 00:00"),
        (("--hours", "1", "--start", "2016-07-31T23:45"), "is outside the data"),
        (("--hours", "1", "--start", "2016-08-01"), "leaves no day of past"),
        (("--hours", "1", "--start", "2017-03-31T23:15"), "is not within the data"),
        (("--hours", "1", "--start", "9999-12-31"), "--start"),
        (("--hours", "1", "--start", "0001-01-01"), "--start"),
        (("--hours", "1", "--start", "5.9.2016"), "write 2016-09-05"),
        (("--hours", "1", "--start", ""), "write 2016-09-05"),
        (("--hours", "1", "--start", "2016-09-05T00:01"), "start at a multiple of 900 s"),
        (("--hours", "1", "--clock", "soon"), "choose lockstep, wall, or xN"),
        (("--hours", "1", "--clock", "x0"), "--clock"),
        (("--hours", "1", "--ports", "some"), "choose auto or fixed"),
        (("--hours", "1", "--mechanism", "lottery"), "installed: twostage"),
        (("--hours", "1", "--seed", "many"), "--seed"),
        (("--hours", "1", "--frobnicate"), "--frobnicate"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused_with_its_mend(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    assert said in cli(2, "run", SITE, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_holds_something_is_kept(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter-1.txt").write_text("years of work", encoding="utf-8")
    run = ("run", SITE, "--hours", "1", "--out", out)
    assert "thesis: the output folder exists and is not empty; name another --out, or --force" in cli(2, *run)
    assert "not a run folder of ours, so --force does not replace it" in cli(2, *run, "--force")
    assert "is a file, not a folder" in cli(2, "run", SITE, "--hours", "1", "--out", out / "chapter-1.txt")
    assert "cannot be made" in cli(2, "run", SITE, "--hours", "1", "--out", out / "chapter-1.txt" / "run")
    assert [path.name for path in out.iterdir()] == ["chapter-1.txt"]


def test_later_verbs_name_the_letter_that_brings_them(cli: Cli) -> None:
    later = [((verb,), letter) for verb, letter in LATER.items()]
    for words, letter in later:
        said = cli(2, *words, "some", "--words", "of", "1")
        assert f"`vpptwin {' '.join(words)}` is not there yet; letter {letter} of docs/roadmap.md brings it" in said


@pytest.mark.parametrize("verb", ["rerun", "ledger verify", "ledger show"])
def test_a_folder_that_holds_no_run_is_said_plainly(cli: Cli, tmp_path: Path, verb: str) -> None:
    said = cli(3, *verb.split(), tmp_path)
    assert str(tmp_path) in said
    assert "name a" in said


def test_a_fault_of_the_program_is_owned_up_to(vpptwin: Vpptwin, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import twin.site.loader\ndef broken(*_, **__): 1 / 0\ntwin.site.loader.load_site = broken\n",
        encoding="utf-8",
    )
    done = vpptwin("check", SITE, expect=3, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert "Traceback" in done.stderr
    assert "a fault of vpptwin itself, not of your input (ZeroDivisionError, see above)" in done.stderr.splitlines()[-1]
