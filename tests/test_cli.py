"""The command line as a user types it: what works, and what is refused with one line and exit code 2."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from harness import ROOT, experiment, plugins, verbs
from harness.cli import main
from harness.engine.images import list_images
from harness.verbs import doctor, run
from tests.pictures import photos

SMALL = [
    "--set", "epochs=1", "--set", "batch=2", "--set", "size=32", "--set", "width=8",
    "--set", "heads.out=8", "--set", "heads.hidden=8",
    "--set", "benchmark.iterations=2", "--set", "benchmark.batch=1", "--set", "benchmark.train=6",
    "--set", "benchmark.test=3", "--set", "benchmark.layout.size=48", "--set", "benchmark.sizes=48",
    "--workers", "0", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one small finished run of `location`."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["run", "--strategy", "location", *SMALL, "--results", str(folder)]) == 0
    return folder


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """What a refused command says; fails unless that is one line, perhaps with a list below, and exit code 2."""
    try:
        code = main(list(line))
    except SystemExit as stop:
        code = int(stop.code or 0)
    told = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert "Traceback" not in "".join(told)
    (said,) = [row for row in told if not row.startswith(("usage:", " ", "scenes:"))]
    choices = [row.strip() for row in told[told.index(said) + 1 :]]  # below it, one a line
    return f"{said} {', '.join(choices)}".strip()


def test_a_run_leaves_a_readable_record_and_nothing_else(results: Path) -> None:
    (folder,) = (results / "runs").iterdir()
    assert {file.name for file in folder.iterdir()} == {
        "backbone.pth", "classes.json", "config.json", "curve.jsonl", "detection.jsonl", "detection.log",
        "detection.yaml", "heads.pth", "provenance.json", "run.json", "scores.json",
    }  # fmt: skip
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["versions"]["torch"] == torch.__version__.split("+")[0]
    assert provenance["data"]["images"] == 6
    assert set(provenance["seconds"]) == {"pretrain", "benchmark"}
    for file in folder.iterdir():
        if file.suffix != ".pth":
            assert str(ROOT) not in file.read_text(encoding="utf-8"), file.name


def test_the_same_words_find_the_run(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in results.rglob("*")}
    assert main(["run", "--strategy", "location", *SMALL, "--results", str(results)]) == 0
    assert "this has been run: location-s0-" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in results.rglob("*")} == before


def test_the_table_counts_the_run_of_its_words(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SMALL[: SMALL.index("--workers")]
    assert main(["table", "A1", "--results", str(results), "--format", "json", *settings]) == 0
    counts = {row["row"]: row["n"] for row in json.loads(capsys.readouterr().out)}
    assert (counts["location"], counts["SimSiam"]) == (1, 0)
    assert main(["table", "A1", "--results", str(results), "--format", "json"]) == 0
    assert {row["n"] for row in json.loads(capsys.readouterr().out)} == {0}


def test_a_broken_record_does_not_break_the_table(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = results / "runs" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"str')
    assert main(["table", "A1", "--results", str(results)]) == 0
    assert "left out" in capsys.readouterr().err
    shutil.rmtree(broken)


def test_a_row_of_one_s_own_stands_before_the_controls(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SMALL[: SMALL.index("--workers")]
    line = [
        "table",
        "A1",
        *settings,
        "--results",
        str(results),
        "--row",
        "mine=--strategy location --set strategy.sampler.side=7",
    ]
    assert main([*line, "--row", "more=--strategy random"]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row[:6] in ("locati", "mine  ", "more  ", "random")]
    assert [row.split()[0] for row in rows] == ["location", "location", "mine", "more", "random"]
    assert rows[2].split()[1:] == rows[0].split()[4:]  # the same run, and no number of the paper's


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("mine", "--row mine: LABEL=OPTIONS was expected"),
        ("=--strategy location", "LABEL=OPTIONS was expected"),
        ("location=--strategy location", "there is a row 'location' already"),
        ("mine=--strategy locaton", "no strategy 'locaton': did you mean 'location'?"),
        ("mine=--stratgy location", "unrecognized arguments: --stratgy location"),
        (
            "mine=--strategy location --workers 0",
            "--row mine: unrecognized arguments: --workers 0: a row takes --strategy",
        ),
        ("mine=--strategy location --seed 5", "--row mine: a row is over all seeds and trials"),
    ],
)
@pytest.mark.parametrize("line", [["table", "A1"], ["claims", "A1"], ["plot", "A1"], ["report", "--out", "x"]])
def test_a_row_that_cannot_be_made_is_refused(
    line: list[str], row: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(capsys, *line, "--row", row, "--results", str(tmp_path))


def test_own_rows_that_change_settings_of_the_preset_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"short": "--set epochs=1", "study": "--preset study", "coarse": "--set strategy.sampler.side=3"}
    line = [word for label, options in rows.items() for word in ("--row", f"{label}=--strategy location {options}")]
    assert main(["table", "A1", *line, "--results", str(tmp_path)]) == 0
    assert "settings changed in: short, study\n" in capsys.readouterr().out
    assert main(["table", "A1", *line[4:], "--results", str(tmp_path)]) == 0
    assert "settings changed in" not in capsys.readouterr().out


def test_why_says_which_strategies_no_row_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "A2", "--why", "--results", str(ROOT / "results/demo")]) == 0
    assert "simsiam-s0-20bca14a: no row has strategy simsiam: --row adds one\n" in capsys.readouterr().out


def test_why_and_doctor_stay_within_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise RuntimeError("a fault " * 20)

    monkeypatch.setattr(doctor, "memory", broken)
    assert main(["doctor"]) == 0
    assert "!!  memory         a fault" in (text := capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= 80
    assert main(["table", "A1", "--results", str(ROOT / "results/demo"), "--why"]) == 0
    assert "does not count for location: strategy.sampler" in (text := capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_says_on_a_terminal_what_may_be_typed_next(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["run", "--strategy", "location", *SMALL, "--results", str(results)]
    assert main(line) == 0
    assert "next:" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(line) == 0
    *_, show, table, again = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"next: harness show location-s0-\w+ --results {results}", show)
    for command, seed in ((table, 0), (again, 1)):
        assert main([*shlex.split(command)[1:], *(["--dry-run"] if seed else ["--format", "json"])]) == 0
    text = capsys.readouterr().out
    assert {row["row"]: row["n"] for row in json.loads(text[: text.index("\n]") + 2])}["location"] == 1
    assert "run location-s1-" in text


def test_a_row_of_one_s_own_strategy_is_suggested() -> None:
    asked = experiment.read_line(["--strategy", "mine.corners", "--preset", "study"])
    commands = run.next_steps(asked, "mine.corners-s0-01234567", ROOT / "results")
    assert commands[1] == "harness table A1 --row 'mine.corners=--strategy mine.corners' --preset study"
    given = experiment.read_line(["--backbone", "moco.pth"])
    assert [line.split()[1] for line in run.next_steps(given, "x", ROOT / "results")] == ["show", "run"]


def test_runs_of_similar_names_are_told_apart_by_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "show", "location-s0", "--results", str(ROOT / "results" / "demo"))
    texts = re.findall(r"location-s0-\w+ (\([^)]*\))", said)
    assert len(texts) == len({*texts}) == 4
    assert "(strategy.sampler.name=regular)" in texts


def test_list_names_everything_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for word in ("location", "simsiam", "random", "regular", "cosine", "voc-folder", "voc07+12", "study", "A2"):
        assert f"  {word} " in text
    assert max(map(len, text.splitlines())) <= 80


def test_scenes_are_composed_for_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "scenes", "--images", "2", "--size", "64", "--out", str(tmp_path / "scenes")]
    assert main([*words, "--sheet", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (768, 384)
    assert len(list((tmp_path / "scenes" / "JPEGImages").iterdir())) == 3
    assert "not an empty folder" in refused(capsys, *words)


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--strategy", "location", *SMALL, "--dry-run", "--results", str(tmp_path / "none")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("run location-s0-")
    for word in (
        "3 steps of 2",
        "parameters",
        "GiB",
        "2 iterations",
        "settings: preset demo, width=8, size=32, epochs=1, batch=2",
    ):
        assert word in text.replace("\n    ", " ")
    assert not (tmp_path / "none").exists()


def test_a_dry_run_prints_all_settings_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--strategy", "location", *SMALL, "--dry-run", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)
    wanted = experiment.parse(["--strategy", "location", *SMALL[: SMALL.index("--workers")]])
    assert text == {"run": wanted.run_id, "settings": json.loads(json.dumps(wanted.settings))}
    says = refused(capsys, "run", "--strategy", "location", "--json")
    assert "--json: means nothing without --dry-run" in says


def test_a_dry_run_refuses_what_the_run_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    says = refused(capsys, "run", "--strategy", "location", "--set", "batch=2000", "--dry-run")
    assert "batch=2000: there are only " in says


def help_of(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """What a line with --help prints."""
    with pytest.raises(SystemExit) as stop:
        main([*line, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("line", [[verb] for verb in plugins.verb_files()] + [["figure", "A1"], ["figure", "matches"]])
def test_every_verb_has_help_with_an_example_in_80_columns(
    line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, *line)
    assert re.search(f"^Example: harness {' '.join(line)}", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


def test_harness_alone_lists_every_verb_and_says_that_nothing_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    text = capsys.readouterr().out
    for name, file in plugins.verb_files().items():
        assert f"  {name:<10} {plugins.first_line(plugins.docstring(file))}\n" in text
    assert max(map(len, text.splitlines())) <= 80
    assert help_of(capsys) == text


def test_a_verb_is_one_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shout.py").write_text(
        '"""Print a word aloud.\n\nExample: harness shout hey\n"""\n'
        "def add_options(parser):\n    parser.add_argument('word')\n"
        "def main(args):\n    print(args.word.upper())\n"
    )
    monkeypatch.setattr(verbs, "__path__", [*verbs.__path__, str(tmp_path)])
    known = {**plugins.verb_files(), "shout": tmp_path / "shout.py"}
    monkeypatch.setattr(plugins, "verb_files", lambda: known)
    assert main(["shout", "hey"]) == 0
    assert capsys.readouterr().out == "HEY\n"
    assert "  shout      Print a word aloud.\n" in help_of(capsys)


def test_the_help_of_run_begins_with_the_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "run")
    assert text.startswith("usage: harness run [--strategy NAME]")
    assert "\noptions:\n  --strategy NAME" in text


@pytest.mark.parametrize("verb", ["run", "reproduce", "submit"])
def test_the_processes_have_a_group_of_their_own(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"\nprocesses that train one run together.*:\n  --processes N", help_of(capsys, verb))


@pytest.mark.parametrize(
    ("line", "usage", "says"),
    [
        (
            "run --stratgy location",
            "usage: harness run [--strategy NAME]",
            "no option '--stratgy': did you mean '--strategy'?",
        ),
        ("figure matches --sise 3", "usage: harness figure matches [", "no option '--sise': did you mean '--size'?"),
        ("show one two", "usage: harness show [", "'two' was not expected here"),
        ("--verion", "usage: harness VERB", "no option '--verion': did you mean '--version'?"),
    ],
)
def test_an_unknown_option_prints_the_usage_of_its_verb_and_the_nearest_option(
    line: str, usage: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    text = capsys.readouterr().err
    assert stop.value.code == 2
    assert text.startswith(usage)
    assert text.strip().endswith(says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run", "--strategy is missing: choose from candidate_regions, feature_similarity, location"),
        ("run --strategy locaton", "no strategy 'locaton': did you mean 'location'?"),
        ("run --strategy no.such.module", "finds no module 'no'"),
        ("run --strategy location --preset tiny", "choose from demo, study, paper"),
        ("run --strategy location --set epoch=3", "did you mean 'epochs'?"),
        ("run --strategy location --set epochs", "FIELD=VALUE was expected"),
        ("run --strategy location --set epochs=-1", "epochs=-1: must be at least 1"),
        ("run --strategy location --set strategy.sampler=biassed", "choose from regular, uniform, biased"),
        (
            "run --strategy location --set benchmark.iteration=3",
            "no field 'benchmark.iteration': did you mean 'benchmark.iterations'?",
        ),
        ("run --strategy location --set encoder=resnet5", "encoder=resnet5: must be one of resnet18, resnet34"),
        ("run --strategy location --set benchmark.encoder=resnet50", "the backbone is resnet18"),
        ("run --strategy location --seed -1", "--seed -1: must be at least 0"),
        ("run --strategy location --seed one", "invalid int value: 'one'"),
        ("run --strategy location --device tpu", "choose cpu, cuda or cuda:N"),
        ("run --strategy location --workers -1", "must be at least 0"),
        ("run --strategy location --benchmark kitti", "no benchmark 'kitti': choose from"),
        ("run --strategy location --benchmark voc-folder", "needs a folder: --benchmark-data DIR"),
        ("run --strategy location --benchmark voc-folder --benchmark-data /no/such", "no such folder"),
        ("run --strategy location --data /no/such", "/no/such: no such folder"),
        ("run --strategy location --preset paper", "no data of its own to pre-train on: --data DIR"),
        ("table A3", "no table 'A3': choose from A1, A2, coco, gauges"),
        ("reproduce A1 A3", "no table 'A3': choose from A1, A2, coco, gauges"),
        ("run --strategy candidate_regions --set strategy.boxes=sclr", "strategy.boxes=sclr: choose from resim, scrl"),
        ("run --strategy candidate_regions --set strategy.boxes.level=c5", "choose from c4, c3, both"),
        (
            "run --strategy feature_similarity --set strategy.scope=half",
            "strategy.scope=half: choose from full, intersection",
        ),
        (
            "run --strategy location --set strategy.sampler=biased --set strategy.sampler.k=0",
            "strategy.sampler.k=0.0: must be at least 1",
        ),
        ("run --strategy location_region --set strategy.region.tau=0", "strategy.region.tau=0.0: must be above 0"),
        ("table A1 --format pdf", "invalid choice: 'pdf'"),
        ("show nothing", "no run 'nothing'"),
        ("data scenes --images 0 --out x", "at least 1"),
        ("data scenes --size 3 --out x", "at least 32 pixels"),
        ("dance", "no verb 'dance': choose from check, claims, compare, data"),
        ("help dance", "no verb 'dance'"),
        ("table a1", "no table 'a1': did you mean 'A1'?"),
        ("run location", "'location' was not expected here: did you mean '--strategy location'?"),
        ("run --strategy mine/central.py", "no strategy 'mine/central.py': did you mean 'mine.central'?"),
        ("run --strategy central.py", "mine/corners.py is mine.corners"),
        ("runs rmm", "runs rmm: only `rm` was expected, which removes runs"),
        ("compare simsiam-s0", "compare simsiam-s0: two runs were expected"),
    ],
)
def test_bad_words_are_refused(
    line: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = line.split()
    assert says in refused(capsys, *words, *(["--results", "new"] if words[0] in ("run", "reproduce") else []))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "usage"), [("help", "usage: harness VERB"), ("help table", "usage: harness table ")])
def test_help_is_printed_by_its_name(words: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(usage)


@pytest.mark.parametrize(
    ("line", "first", "choices"),
    [
        ("run", "harness: --strategy is missing: choose from", 8),
        ("show s --results results/demo", "harness: run 's' may be any of", 6),
        ("show x --results results/demo", "harness: no run 'x' in results/demo/runs: choose from", 33),
        ("run --strategy location --set epoch=3", "harness: no field 'epoch': did you mean 'epochs'? choose from", 18),
    ],
)
def test_many_choices_are_listed_one_a_line(
    line: str, first: str, choices: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(line.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == first
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines[1:] if re.match("  [^ ]", line)]) >= choices
    assert all(line.startswith("  ") for line in lines[1:])


def test_few_choices_stay_on_the_line_of_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "A3"]) == 2
    assert capsys.readouterr().err == "harness: no table 'A3': choose from A1, A2, coco, gauges\n"


def test_bad_folders_of_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, zero = tmp_path / "empty", tmp_path / "zero"
    empty.mkdir()
    photos(zero, 3)[1].write_bytes(b"")
    base = ["run", "--strategy", "location", *SMALL, "--results", str(tmp_path / "results"), "--data"]
    assert "empty: no images to pre-train on" in refused(capsys, *base, str(empty))
    assert "zero/1.jpg: an empty file" in refused(capsys, *base, str(zero))
    assert not (tmp_path / "results").exists()


def test_a_truncated_image_is_named_and_the_run_does_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = photos(tmp_path / "photos", 4)
    files[2].write_bytes(files[2].read_bytes()[:300])
    line = ["run", "--strategy", "location", *SMALL, "--results", str(tmp_path / "results")]
    assert f"{files[2]}: cannot be decoded" in refused(capsys, *line, "--data", str(tmp_path / "photos"))
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "FAILED"
    assert not (folder / "scores.json").exists()


def test_an_inverted_box_is_named_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "scenes", "--images", "5", "--size", "48", "--out", str(tmp_path / "voc")]) == 0
    file = next(iter(sorted((tmp_path / "voc" / "Annotations").iterdir())))
    file.write_text(re.sub(r"<xmin>\d+", "<xmin>999", file.read_text(encoding="utf-8")), encoding="utf-8")
    line = ["run", "--strategy", "location", *SMALL[: SMALL.index("benchmark.train=6") - 1], "--results"]
    told = refused(
        capsys, *line, str(tmp_path / "new"), "--benchmark", "voc-folder", "--benchmark-data", str(tmp_path / "voc")
    )
    assert str(file) in told
    assert "is inverted" in told
    assert not (tmp_path / "new").exists()


def test_a_results_folder_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    told = refused(capsys, "run", "--strategy", "location", *SMALL, "--results", str(tmp_path / "file"))
    assert str(tmp_path / "file") in told


def test_a_voc_folder_pre_trains_on_its_train_split_alone(tmp_path: Path) -> None:
    photos(tmp_path / "JPEGImages", 5)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_text("1\n3\n")
    assert [file.name for file in list_images(tmp_path)] == ["1.jpg", "3.jpg"]


def test_a_strategy_of_one_file_outside_the_checkout_runs(tmp_path: Path) -> None:
    source = (ROOT / "methods" / "strategies" / "location.py").read_text(encoding="utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "corners.py").write_text(
        source.replace("sampler: Sampler = Regular()", "sampler: Sampler = Regular(2)")
    )
    line = [sys.executable, "-m", "harness", "run", "--strategy", "mine.corners", "--dry-run", "--json", *SMALL]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    assert '"side": 2' in done.stdout
