"""PEP 517 backend that repacks detectron2's Python sources from a wheel of the user's own package index."""

import base64
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ORIGIN = "sal-detectron2==0.7.2"
SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
TARGET = ("--python-version=3.10", "--implementation=cp", "--abi=cp310", "--platform=any")  # the one it has
VERSION = "0.6+a59f0563"  # the official release and commit (2024-04-17) whose sources the origin holds
INFO = f"detectron2-{VERSION}.dist-info"
METADATA = f"""\
Metadata-Version: 2.1
Name: detectron2
Version: {VERSION}
Summary: Facebook AI Research's object detection library, its Python part only.
Author: FAIR
License: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.8
Requires-Dist: Pillow>=7.1
Requires-Dist: matplotlib
Requires-Dist: numpy
Requires-Dist: pycocotools>=2.0.2
Requires-Dist: termcolor>=1.1
Requires-Dist: yacs>=0.1.8
Requires-Dist: tabulate
Requires-Dist: cloudpickle
Requires-Dist: tqdm>4.29.0
Requires-Dist: tensorboard
Requires-Dist: fvcore>=0.1.5,<0.1.6
Requires-Dist: iopath>=0.1.7,<0.1.10
Requires-Dist: omegaconf>=2.1,<2.4
Requires-Dist: hydra-core>=1.1
Requires-Dist: packaging
Requires-Dist: setuptools<81

detectron2 at commit a59f0563, repacked on this machine from the wheel {ORIGIN} (sha256 {SHA256}).
Left out: the compiled operators and the top-level package `tools`. Changed: `detectron2.__version__`.
Required beside the official list: setuptools with pkg_resources, for `model_zoo`. Not required: black, which
only `LazyConfig.to_py` calls, and numpy below 2.
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: third_party/detectron2\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def download(folder: Path) -> Path:
    """The origin's wheel, fetched into `folder` by pip under the user's own settings."""
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", f"--dest={folder}")
    if subprocess.run((*pip, *TARGET, ORIGIN)).returncode:
        raise SystemExit(f"detectron2: pip could not download {ORIGIN}: is your package index reachable?")
    return next(folder.glob("*.whl"))


def contents(source: Path, sha256: str) -> dict[str, bytes]:
    """The repacked wheel's files by name, `RECORD` excepted; a source of another hash is refused unopened."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != sha256:
        raise SystemExit(f"detectron2: {source.name} has sha256 {found}, expected {sha256}: not installed")
    with zipfile.ZipFile(source) as wheel:
        names = sorted(wheel.namelist())
        kept = (name for name in names if name.startswith("detectron2/") and not name.endswith((".so", "/")))
        files = {name: wheel.read(name) for name in kept}
        licence = next(wheel.read(name) for name in names if name.endswith(".dist-info/LICENSE"))
    version = b'__version__ = "%b"  # set by the repacking' % VERSION.encode()
    init = "detectron2/__init__.py"
    files[init] = files[init].replace(b'__version__ = "0.7.2"', version)
    information = {"LICENSE": licence, "METADATA": METADATA.encode(), "WHEEL": WHEEL.encode()}
    return files | {f"{INFO}/{name}": data for name, data in information.items()}


def record(files: Mapping[str, bytes]) -> str:
    """The text of `RECORD`: name, hash and size of every file, and its own name alone."""
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{INFO}/RECORD,,\n"])


def repack(source: Path, sha256: str, folder: Path) -> str:
    """The name of the pure-Python wheel written into `folder`: equal sources give equal bytes."""
    files = contents(source, sha256)
    files[f"{INFO}/RECORD"] = record(files).encode()
    name = f"detectron2-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path)  # always dated 1980-01-01
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            wheel.writestr(entry, data)
    return name


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """PEP 517: the wheel that pip installs."""
    with tempfile.TemporaryDirectory() as folder:
        return repack(download(Path(folder)), SHA256, Path(wheel_directory))
