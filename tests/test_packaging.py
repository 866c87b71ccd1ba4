"""What users install: the repacked detectron2, the pinned versions and the stamp of `make setup`."""

import base64
import csv
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import zipfile
from configparser import ConfigParser
from email import message_from_string
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

import harness

ROOT = Path(__file__).resolve().parents[1]
SOURCE = {
    "detectron2/__init__.py": b'__version__ = "0.7.2"\n',
    "detectron2/x.py": b"x = 1\n",
    "detectron2/model_zoo/configs/x.yaml": b"x: 1\n",
    "detectron2/_C.cpython-310-x86_64-linux-gnu.so": b"\x7fELF",
    "tools/train_net.py": b"raise ImportError\n",
    "sal_detectron2-0.7.2.dist-info/LICENSE": b"Apache License\n",
    "sal_detectron2-0.7.2.dist-info/METADATA": b"Name: sal-detectron2\nVersion: 0.7.2\n",
    "sal_detectron2-0.7.2.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: cp310-none-any\n",
    "sal_detectron2-0.7.2.dist-info/RECORD": b"",
}


def load_backend() -> ModuleType:
    """The build backend, which no package holds."""
    spec = importlib.util.spec_from_file_location("backend", ROOT / "third_party/detectron2/backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The backend where pip finds nothing but the wheels in `tmp_path`/index."""
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return load_backend()


@pytest.fixture
def source(tmp_path: Path, backend: ModuleType) -> Path:
    """A tiny wheel under the origin's name, built like it."""
    path = tmp_path / "index" / "sal_detectron2-0.7.2-cp310-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in SOURCE.items():
            wheel.writestr(name, data)
    return path


def sha256(path: Path) -> str:
    """The hash by which the backend knows its origin."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(backend: ModuleType, source: Path, folder: Path) -> Path:
    """The wheel that is made of `source`."""
    folder.mkdir()
    return folder / str(backend.repack(source, sha256(source), folder))


def test_the_hook_finds_the_origin_by_the_users_own_pip_settings(
    backend: ModuleType, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "SHA256", sha256(source))
    wheel = tmp_path / backend.build_wheel(str(tmp_path))
    assert wheel.read_bytes() == build(backend, source, tmp_path / "out").read_bytes()


def test_the_wheel_holds_python_sources_configs_and_the_licence(
    backend: ModuleType, source: Path, tmp_path: Path
) -> None:
    wheel = build(backend, source, tmp_path / "out")
    with zipfile.ZipFile(wheel) as files:
        held = {name: files.read(name) for name in files.namelist()}
    info = f"detectron2-{backend.VERSION}.dist-info"
    assert set(held) == {
        *("detectron2/__init__.py", "detectron2/x.py", "detectron2/model_zoo/configs/x.yaml"),
        *(f"{info}/{name}" for name in ("LICENSE", "METADATA", "WHEEL", "RECORD")),
    }
    assert held["detectron2/x.py"] == SOURCE["detectron2/x.py"]
    assert held[f"{info}/LICENSE"] == SOURCE["sal_detectron2-0.7.2.dist-info/LICENSE"]
    assert held["detectron2/__init__.py"].startswith(b'__version__ = "%b"' % backend.VERSION.encode())


def test_record_vouches_for_every_file(backend: ModuleType, source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(backend, source, tmp_path / "out")) as files:
        rows = [line.split(",") for line in files.read(files.namelist()[-1]).decode().splitlines()]
        assert [name for name, _, _ in rows] == files.namelist()
        assert rows.pop()[1:] == ["", ""]
        for name, hashed, size in rows:
            data = files.read(name)
            digest = base64.urlsafe_b64decode(hashed.removeprefix("sha256=") + "=")
            assert (digest, int(size)) == (hashlib.sha256(data).digest(), len(data))


def test_name_and_metadata_agree_and_tell_the_origin(backend: ModuleType, source: Path, tmp_path: Path) -> None:
    wheel = build(backend, source, tmp_path / "out")
    name, version, _, tags = parse_wheel_filename(wheel.name)
    metadata = message_from_string(backend.METADATA)
    assert (name, str(version)) == (metadata["Name"], metadata["Version"])
    assert [str(tag) for tag in tags] == ["py3-none-any"]
    assert "sal-detectron2==0.7.2" in str(metadata.get_payload())


def test_equal_sources_give_equal_bytes(backend: ModuleType, source: Path, tmp_path: Path) -> None:
    first, second = (build(backend, source, tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_source_of_another_hash_is_refused(backend: ModuleType, source: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"{source.name} has sha256 {sha256(source)}, expected {backend.SHA256}"):
        backend.repack(source, backend.SHA256, tmp_path)
    assert list(tmp_path.glob("*.whl")) == []


def test_a_failed_download_is_one_line(backend: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="could not download sal-detectron2") as failure:
        backend.build_wheel(str(tmp_path))
    assert "\n" not in str(failure.value)


def lines(name: str) -> list[str]:
    """A requirements file's lines without comments."""
    stripped = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in stripped if line]


def pins() -> dict[NormalizedName, Version]:
    """The locked versions, each named once and exactly."""
    pairs = [line.split("==") for line in lines("constraints.txt")]
    locked = {canonicalize_name(name): Version(version) for name, version in pairs}
    assert len(locked) == len(pairs)
    return locked


def test_the_lock_meets_every_range() -> None:
    named = [line for line in lines("requirements.txt") if not line.startswith(("-e", "./"))]
    metadata = message_from_string(load_backend().METADATA)
    locked = pins()
    for text in [*named, *lines("requirements-dev.txt"), *metadata.get_all("Requires-Dist", [])]:
        wanted = Requirement(text)
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier, text


def test_the_lock_leaves_cuda_to_torch() -> None:
    assert not [name for name in pins() if name.startswith(("nvidia", "cuda", "triton"))]


def test_one_requirements_file_brings_detectron2_and_harness() -> None:
    assert {"./third_party/detectron2", "-e ."} <= set(lines("requirements.txt"))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "constraints.txt", "Makefile"])
def test_no_package_index_is_written_down(name: str) -> None:
    assert not re.search(r"://|index-url|trusted-host", (ROOT / name).read_text())


def metadata() -> ConfigParser:
    """Return what setup.cfg says of the package."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings


def test_package_data_exist() -> None:
    data = metadata()["options.package_data"]
    named = [ROOT / package.replace(".", "/") / name for package in data for name in data[package].split()]
    assert len(named) == 7
    assert [file for file in named if not file.is_file()] == []


def test_every_package_says_that_it_has_types() -> None:
    data = metadata()["options.package_data"]
    assert all("py.typed" in data[package].split() for package in ("harness", "methods", "benchmarks"))


def test_the_version_stands_in_one_place() -> None:
    assert metadata()["metadata"]["version"] == "attr: harness.__version__"
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {harness.__version__}" in cited
    assert f"license: {metadata()['metadata']['license_expression']}" in cited


def test_the_least_python_is_one_for_installation_checks_and_setup() -> None:
    least = Version(metadata()["options"]["python_requires"].removeprefix(">="))
    assert f'target-version = "py{least.major}{least.minor}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"sys.version_info < ({least.major}, {least.minor})" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_licence_files_are_there_and_the_pictures_keep_theirs() -> None:
    named = metadata()["metadata"]["license_files"].split()
    assert all((ROOT / name).is_file() for name in named)
    with open(ROOT / "benchmarks/scenes/split.csv", encoding="utf-8", newline="") as lines:
        licences = {line["licence"] for line in csv.DictReader(lines)}
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8").lower()
    assert [licence for licence in licences if licence.lower() not in notice] == []


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version() -> None:
    first, *_ = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first == ("Unreleased" if Version(harness.__version__).is_devrelease else harness.__version__)


PYTHON = """#!/bin/sh
case "$*" in
*"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*"pip install"*) test -e online ;;
esac
"""


def make(folder: Path, *words: str) -> int:
    """The exit status of make in `folder`, with a stand-in for Python that installs nothing."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", "PYTHON=./python3", *words], cwd=folder, env=inherited).returncode


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """All that `make setup` reads, and a Python whose pip fails until a file `online` exists."""
    for name in ("Makefile", "requirements.txt", "constraints.txt", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "third_party", tmp_path / "third_party")
    (tmp_path / "python3").write_text(PYTHON)
    (tmp_path / "python3").chmod(0o755)
    return tmp_path


def test_a_failed_set_up_is_taken_up_again_and_a_finished_one_is_not(checkout: Path) -> None:
    assert make(checkout, "setup") != 0
    assert make(checkout, "--question", "setup") == 1
    (checkout / "online").touch()
    assert make(checkout, "setup") == 0
    assert make(checkout, "--question", "setup") == 0


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "third_party/detectron2/backend.py"])
def test_a_changed_pin_sets_up_anew(checkout: Path, name: str) -> None:
    (checkout / "online").touch()
    make(checkout, "setup")
    later = (checkout / ".venv/.installed").stat().st_mtime + 1
    os.utime(checkout / name, (later, later))
    assert make(checkout, "--question", "setup") == 1


def test_a_python_without_venv_is_refused_in_one_line(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (checkout / "python3").write_text("#!/bin/sh\nexit 1\n")
    assert make(checkout, "setup") != 0
    first, *_ = capfd.readouterr().err.splitlines()
    assert "apt-get install python3-venv" in first
    assert not (checkout / ".venv").exists()


def test_git_ignores_the_runs_of_a_user_and_keeps_the_records_of_the_demo() -> None:
    own = ["results/runs/location-s0-1/config.json", "results/logs/x.log", "results/plots/A1.png", ".cache/scenes/x"]
    kept = ["results/demo/runs/location-s0-1/config.json", "results/demo/plots/A1.png", "results/mine/runs/x/run.json"]
    line = ["git", "check-ignore", "--no-index", *own, *kept]
    assert subprocess.run(line, cwd=ROOT, capture_output=True, text=True).stdout.splitlines() == own
