"""The report holds what tables and claims say, asks nothing of a network, and shows hostile records as text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, records, tables
from harness.cli import main
from harness.evidence import claims, findings, render, style
from harness.evidence.report import appendix, pictures, sections, source
from harness.evidence.report import page as page_module
from harness.evidence.rows import fill_rows
from harness.experiment import parse
from tests.pictures import photos

DEMO = ROOT / "results" / "demo"
BAD = '"><img src=x onerror=alert(1)>]]></style></td><script>alert(1)<'
VOID = {"meta", "img", "br"}
SVG = {"svg", "g", "path", "use", "text", "tspan"}


class Page(HTMLParser):
    """The page's elements and text; every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.extend([] if tag in VOID else [tag])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def page(results: Path, out: Path, *words: str) -> str:
    assert main(["report", *words, "--results", str(results), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def plant(results: Path, line: str, name: str | None = None, **files: Any) -> Path:
    experiment = parse(line.split())
    folder = results / "runs" / (name or experiment.run_id)
    folder.mkdir(parents=True)
    content = {"config": experiment.settings, "run": {}, "scores": {"AP": 3.25, "AP50": 9.0, "AP75": 1.0}, **files}
    for part, one in content.items():
        if one is not None:
            (folder / f"{part}.json").write_text(json.dumps(one), encoding="utf-8")
    return folder


def check_is_alone(found: Page) -> None:
    assert not {"script", "link", "iframe", "object", "base", "form", "foreignobject"} & {tag for tag, _ in found.tags}
    places = {facts["id"] for _, facts in found.tags if "id" in facts}
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "srcset"]
        assert "style" not in attributes or tag in SVG
        assert str(attributes.get("src", "data:")).startswith("data:")
        for name in ("href", "xlink:href"):
            assert name not in attributes or str(attributes[name]).removeprefix("#") in places
    policy = [facts["content"] for tag, facts in found.tags if "http-equiv" in facts]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "demo.html"
    return page(DEMO, out, "--figures", str(ROOT / "results" / "plots"))


def test_the_demo_s_page_holds_its_numbers_and_verdicts(demo: str) -> None:
    found = Page(demo)
    check_is_alone(found)
    assert set(re.findall(r"url\((.)", demo)) == {"#"}
    assert len(demo) < 1_500_000
    assert "NOT comparable with the paper's numbers" in found.text
    assert "33 counted of 33 recorded" in found.text
    rows, others = (fill_rows(name, (), records.read_all(DEMO)[0]) for name in ("A1", "A2"))
    known = claims.evidence("A1", "AP", rows, "demo", False, {"A2": others})
    for name, judged in claims.findings(known).verdicts.items():
        assert f"{name} {judged[1]} ours: {findings.difference_text(judged[0])}" in found.text
    for row in rows:
        assert render.our_text(row, tables.SCORES[1]) in found.text
        assert all(run.id in found.text for run in row.runs)
    assert [tag for tag, _ in found.tags].count("img") == 2
    assert [tag for tag, _ in found.tags].count("svg") == 9  # three tables, and a forest plot for each of six scores
    assert all(facts["alt"] for tag, facts in found.tags if tag == "img")
    assert all(facts["scope"] in ("row", "col") for tag, facts in found.tags if tag == "th")


def test_the_same_records_give_the_same_bytes_and_name_no_machine(tmp_path: Path) -> None:
    plant(tmp_path, "--strategy location")
    plant(tmp_path, "--strategy simsiam", scores=None, run={"status": "FAILED"})
    plant(tmp_path, "--strategy random", config=None)
    one, two = (page(tmp_path, tmp_path / name / "page.html", "A1") for name in ("one", "two"))
    assert one == two
    assert str(tmp_path) not in one
    assert "it is FAILED, not finished" in Page(one).text
    assert "config.json: not a readable record" in Page(one).text


def test_hostile_records_come_out_as_text(tmp_path: Path) -> None:
    facts = {"versions": {BAD: BAD}}
    run_id = parse(["--strategy", "location"]).run_id
    told = {
        "notes": [BAD],
        "doubts": ["of an older record"],
        "warnings": [BAD + "\u202e"],
        "code": {"commit": BAD, "dirty": True},
        "machine": {"device": BAD},
    }
    plant(
        tmp_path,
        "--strategy location",
        f"a{BAD.replace('/', '')}{run_id[run_id.index('-s0-') :]}",
        scores={"AP": 1.0, BAD: 2.0},
        provenance={**facts, **told},
    )
    plant(tmp_path, "--strategy simsiam", scores=None, run={"status": BAD}, config={"seed": 0, BAD: BAD})
    plant(tmp_path, "--strategy random", "b\u202e<script>", scores={"AP": BAD})
    plant(tmp_path, "--strategy random", "c", config={"seed": BAD, "strategy": "\ud800"})
    plant(tmp_path, "--strategy random", "d", provenance={"data": BAD})
    (plant(tmp_path, "--strategy shuffled") / "curve.jsonl").write_text(f"[{json.dumps(BAD)}]\n", encoding="utf-8")
    text = page(tmp_path, tmp_path / "x.html", "A1", "gauges")
    found = Page(text)
    check_is_alone(found)
    assert "\u202e" not in text
    assert f"warnings: {BAD}\\u202e" in found.text
    assert "doubts: of an older record" in found.text
    assert f"it is {BAD}" in found.text or f"{BAD}={BAD}" in found.text
    assert "b\\u202e<script>: not a run's name" in found.text
    assert "c/config.json: not a readable record (seed is not what it should be)" in found.text
    assert found.text.count("not a readable") == 3
    assert "1 counted of 2 recorded" in found.text
    assert [tag for tag, _ in found.tags].count("svg") == 2


def test_an_empty_folder_s_page_is_the_to_do_list(tmp_path: Path) -> None:
    (tmp_path / "nowhere").mkdir()
    found = Page(page(tmp_path / "nowhere", tmp_path / "x.html"))
    assert "harness run --strategy location " in found.text
    assert "harness figure matches --results '…/nowhere' draws it" in found.text
    assert "0 counted of 0 recorded" in found.text
    assert found.text.count("not run") >= len(tables.TABLES["A1"].claims)
    assert not {"img", "svg"} & {tag for tag, _ in found.tags}


def test_one_seed_says_what_it_cannot(tmp_path: Path) -> None:
    for name in ("simsiam", "location"):
        plant(tmp_path, f"--strategy {name}")
    assert "n = 1: a difference, but no spread, interval or p" in Page(page(tmp_path, tmp_path / "x.html", "A1")).text


def test_words_for_the_whole_table_choose_the_runs_and_are_named(tmp_path: Path) -> None:
    plant(tmp_path, "--strategy location --set epochs=3")
    found = Page(page(tmp_path, tmp_path / "x.html", "A1", "--set", "epochs=3"))
    assert "changed settings: NOT comparable" in found.text
    assert "harness report --set epochs=3 A1 --results …" in found.text.replace("'", "")
    assert "1 counted of 1 recorded" in found.text
    assert "recipe.epochs3" in found.text


def test_a_coco_table_is_shown_where_a_run_fills_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tables.Table("ours", {"location": "--strategy location"})
    monkeypatch.setitem(tables.TABLES, "coco", table)
    assert source.read([], [], [], "demo", False, tmp_path).names == source.ALWAYS
    plant(tmp_path, "--strategy location")
    assert source.read([], [], [], "demo", False, tmp_path).names == ("A1", "A2", "coco", "gauges")


def test_a_table_over_several_benchmarks_says_which_score_predicts_its_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("voc-folder", "scenes")
    columns = tuple(replace(tables.SCORES[0], heading=f"AP of {name}", benchmark=name) for name in names)
    rows = {name: f"--strategy {name}" for name in ("location", "simsiam", "random")}
    monkeypatch.setitem(tables.TABLES, "own", tables.Table("two", rows, columns=columns, target="scenes.AP"))
    for place, name in enumerate(rows):
        for seed in (0, 1):
            for benchmark in names:
                line = f"--strategy {name} --seed {seed} --benchmark {benchmark}"
                plant(tmp_path, line, scores={"AP": 10.0 * place + seed})
    text = Page(page(tmp_path, tmp_path / "x.html", "own")).text
    assert "Which score predicts AP of scenes. τ: 1 where both scores order all backbones alike" in text
    assert "12 counted of 12 recorded" in text
    assert re.search(r"AP of voc-folder ?6 ?3 ?\+1\.00", text)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["A9", "--out", "x.html"], "no table 'A9'"), (["A1", "--out", "."], "a folder, not a file"),
     (["A1", "--out", "file/x.html"], "file"), (["A1", "--set", "nothing=1", "--out", "x.html"], "no field 'nothing'")],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept", encoding="utf-8")
    assert main(["report", *words, "--results", str(DEMO)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert all(line.startswith("  ") for line in told.splitlines()[1:])  # choices, one a line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_out_file_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["report"])
    assert stopped.value.code == 2
    assert "--out" in capsys.readouterr().err.splitlines()[-1]


def test_a_large_figure_is_made_small(tmp_path: Path) -> None:
    (file,) = photos(tmp_path, 1, (2400, 1200))
    uri = pictures.picture(file, "command", "title").uri
    assert uri is not None
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < file.stat().st_size


def claims_of(words: dict[str, str]) -> list[sections.Section]:
    """A section whose claims have these verdicts."""
    grid = appendix.Grid("", [], [])
    lines = [sections.ClaimLine(name, word, "", "") for name, word in words.items()]
    score = sections.ScoreSection("AP", "SimSiam", grid, lines, [], None, "random has the highest mean AP")
    return [sections.Section("A1", "", "", grid, [score, score._replace(claims=[])], [], [], None)]


def test_the_page_opens_with_what_is_decided_and_what_is_not() -> None:
    words = {"a > b": "contradicted", "b > c": "inconclusive", "c > d": "not run", "d > e": "reproduced"}
    told = " ".join(sections.summary(claims_of(words), comparable=True))
    assert told.startswith("1 of 4 claims reproduced, 1 contradicted, 1 undecided, 1 not run; random has the highest")
    assert "Decided: d > e (reproduced); a > b (contradicted)." in told
    assert "too few: b > c." in told
    assert told.endswith("runs are missing: c > d.")
    other = " ".join(sections.summary(claims_of({"b > c": "inconclusive"}), comparable=False))
    assert other.startswith("0 of 1 claims reproduced, 0 contradicted, 1 undecided; ")
    assert "no difference can be reproduced" in other
    assert sections.summary(claims_of({}), comparable=True) == ["no claims; random has the highest mean AP."]


def test_the_demo_s_page_opens_with_its_claims_has_dates_contents_and_its_command(demo: str) -> None:
    text = Page(demo).text
    margin = "because the margin holds only at the paper's scale: A1: pixel distance ≈ SimSiam within 1.0."
    assert margin in text
    assert (
        text.index("0 of 8 claims reproduced, 0 contradicted, 8 undecided; random has the highest")
        < text.index("Contents")
        < text.index("Table A1, by")
    )
    assert f"written on {page_module.today()} newest run 2026-11-23" in re.sub("(on|run)2", r"\1 2", text)
    assert "harness report A1 A2 gauges --results results/demo --out '…/demo.html' --figures results/plots" in text


def test_the_day_of_writing_can_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert page_module.today() == "2023-11-14"


def test_a_plot_s_colours_are_the_page_s_and_follow_its_scheme(demo: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", demo, re.DOTALL))
    asked = set(re.findall(r"var\(--c-([0-9a-f]{6})\)", drawings))
    light, dark = re.findall(r":root \{ (--c-.*)$", demo, re.MULTILINE)
    for colour in asked:
        assert f"--c-{colour}: #{colour};" in light
        assert f"--c-{colour}: #" in dark
    assert {"0072b2", "dddddd"} <= asked
    assert "currentColor" in drawings
    assert not re.search(r"(fill|stroke): #", drawings)
    assert "<style" not in drawings
    assert style.on_dark("0072b2") != "0072b2"
    assert style.on_dark("f0e442") == "f0e442"
