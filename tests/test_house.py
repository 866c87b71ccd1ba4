"""The arrows between the folders, who names a record's files, what imports torch, and how large the house may be."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ROOT, records

CODE = [
    file for folder in ("harness", "methods", "benchmarks", "third_party") for file in (ROOT / folder).rglob("*.py")
]
# what reads a file and can run code from it, or write where the file says; xml.etree only writes here
UNSAFE_MODULES = {
    *("pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "jsonpickle", "yaml", "omegaconf"),
    *("tarfile", "runpy", "code", "codeop", "xml.dom", "xml.sax", "lxml"),
}
UNSAFE_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "np.load", "numpy.load", "np.loadtxt"),
    *("shutil.unpack_archive", "hub.load", "torch.hub.load", "torch.jit.load", "DetectionCheckpointer"),
    *(f"{tree}.{read}" for tree in ("ET", "ElementTree") for read in ("parse", "fromstring", "XML", "iterparse")),
}
NEEDED = {"torch.load": ("weights_only", True), "Image.open": ("formats", None)}  # call: keyword, its value
OWN = {"benchmarks/scenes/compose.py"}  # opens the pictures that the checkout brings, and nothing else
ALLOWED = {
    "methods": {"methods", "torch", "torchvision", "numpy", "PIL"},
    "benchmarks": {"benchmarks", "torch", "torchvision", "numpy", "PIL", "defusedxml", "detectron2",
                   "faster_coco_eval", "fvcore", "safetensors", "scipy", "tqdm"},
}  # fmt: skip


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert set(imported(file)) - set(sys.stdlib_module_names) <= ALLOWED[package], file


def test_detectron2_lives_in_benchmarks_and_is_examined_by_doctor() -> None:
    users = {file.relative_to(ROOT).as_posix() for folder in ("harness", "methods")
             for file in (ROOT / folder).rglob("*.py") if "detectron2" in set(imported(file))}  # fmt: skip
    assert users == {"harness/verbs/doctor.py"}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["table", "A1"],
        ["claims", "A1"],
        ["runs", "--results", "results/demo"],
        ["show", "simsiam-s0", "--results", "results/demo"],
        ["run", "--strategy", "x"],
    ],
)
def test_quick_verbs_do_not_import_torch(words: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {words}\nfrom harness import cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_the_help_of_no_verb_imports_torch() -> None:
    code = (
        "import sys\nfrom harness import cli, plugins\nfor verb in plugins.verb_files():\n"
        "    try: cli.main([verb, '-h'])\n    except SystemExit: pass\n    assert 'torch' not in sys.modules, verb\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert not done.returncode, done.stderr


def test_a_table_does_not_wait_for_the_statistics() -> None:
    code = "import sys, harness.tables; print({'scipy', 'statsmodels', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call by its name, that of a function within partial(…) too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            partial = ast.unparse(node.func) == "partial" and node.args
            yield ast.unparse(node.args[0] if partial else node.func), node


def unsafe(file: Path) -> list[str]:
    """What of a file could run code from outside."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = [name for node in ast.walk(tree) for name in (
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else
        [node.module or ""] if isinstance(node, ast.ImportFrom) else [])]  # fmt: skip
    found = [name for name in modules if {name, name.split(".")[0]} & UNSAFE_MODULES]
    for name, call in calls(file):
        keywords = {one.arg: ast.unparse(one.value) for one in call.keywords}
        word, value = NEEDED.get(name, ("", None))
        lacks = word and (keywords.get(word) is None if value is None else keywords.get(word) != str(value))
        if name in UNSAFE_CALLS or lacks or "shell" in keywords or name.endswith((".extract", ".extractall")):
            found.append(ast.unparse(call))
    return found


def test_nothing_from_outside_can_be_executed() -> None:
    assert len(CODE) > 50
    found = {file.relative_to(ROOT).as_posix(): lines for file in CODE if (lines := unsafe(file))}
    assert set(found) <= OWN
    assert all(line.startswith("Image.open(io.BytesIO(_archive()") for lines in found.values() for line in lines)


def test_modules_are_imported_by_name_in_one_place() -> None:
    users = {file.name for file in CODE for name, _ in calls(file) if name.endswith("import_module")}
    assert users == {"plugins.py"}


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from yaml import load", "import jsonpickle.ext", "eval(x)", "torch.load(x)", "os.system(x)",
     "torch.load(x, weights_only=False)", "partial(torch.load, map_location=x)", "np.load(x)", "ET.fromstring(x)",
     "subprocess.run(x, shell=True)", "archive.extractall()", "Image.open(x)"],
)  # fmt: skip
def test_what_could_execute_it_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(line)
    assert unsafe(tmp_path / "module.py")
    (tmp_path / "module.py").write_text("partial(torch.load, weights_only=True)(Image.open(x, formats=FORMATS))")
    assert not unsafe(tmp_path / "module.py")


# --- the arrows within harness: verbs → evidence → engine → its own floor → methods, benchmarks

SOURCES = [file for folder in ("harness", "methods", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
MODULES = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in SOURCES}
WINGS = ("verbs", "evidence", "engine")
FRONT = {"harness.cli", "harness.__main__", "harness.api"}  # doors of the whole house: nothing within imports them


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those for the type checker included, without those of functions."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.ClassDef):
            yield from at_import(statement.body)


def needs(module: str, late: bool = False) -> set[str]:
    """Return the modules of this project that one imports: as it is imported itself, or `late`, in a call, too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    wanted: set[str] = set()
    for node in ast.walk(tree) if late else at_import(tree.body):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            wanted |= {name if name in MODULES else node.module for name in names}
    return {name for name in wanted if name in MODULES and name != module}


def wing(module: str) -> str:
    """Return the folder that a module is in, `floor` for harness's own, where the doors do not count."""
    top, *rest = module.split(".")
    return rest[0] if rest and rest[0] in WINGS else "floor" if top == "harness" else top


def test_the_arrows_within_harness_go_one_way() -> None:
    order = {name: number for number, name in enumerate((*WINGS, "floor", "methods", "benchmarks"))}
    back = [
        f"{module} → {other}"
        for module in set(MODULES) - FRONT - {"harness"}
        for other in needs(module, late=True)
        if order[wing(other)] < order[wing(module)] or other in FRONT
    ]
    assert back == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {module: needs(module) for module in MODULES if module != "harness"}  # which only names its front door
    while free := {module for module, others in arrows.items() if not others & arrows.keys()}:
        arrows = {module: others for module, others in arrows.items() if module not in free}
    assert arrows == {}


def test_records_alone_names_the_files_of_a_record() -> None:
    files = (records.CONFIG, records.RUN, records.SCORES, records.PROVENANCE, records.CURVE, records.BACKBONE,
             records.HEADS, records.CHECKPOINT, records.LOCK, records.TENSORBOARD)  # fmt: skip
    namers = {
        module
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and Path(node.value).name in files
        if node.value != records.TENSORBOARD  # the name of a package and of an option too
    }
    assert namers == {"harness.records"}


# --- how large the house may be


def test_the_floor_of_harness_has_few_rooms() -> None:
    rooms = [
        path.stem
        for path in (ROOT / "harness").iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    ]
    assert len(rooms) <= 14, sorted(rooms)


def test_few_files_are_long() -> None:
    long = [file for file in SOURCES if len(file.read_text(encoding="utf-8").splitlines()) > 300]
    assert len(long) <= 2, long


def test_the_path_of_a_first_reading_is_short() -> None:
    path = ["methods/correspondence.py", "methods/strategies/location.py", "methods/pixsim.py",
            "harness/experiment.py", "harness/tables.py"]  # fmt: skip
    assert sum(len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in path) <= 750


def test_types_are_known() -> None:
    counts = {file: len(re.findall(r"\bAny\b", file.read_text(encoding="utf-8"))) for file in SOURCES}
    assert sum(counts.values()) <= 110
