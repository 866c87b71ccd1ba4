"""The structure of features: official figures, what must not change it, and a folder without labels."""

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from benchmarks.structure import ACROSS, Structure, alpha, rankme, spectrum, uniformity, unit_rows
from tests.official import PROBES, wave
from tests.pictures import photos
from tests.test_matching import saved

PHI = 0.2


def exact(shape: tuple[int, ...], phase: float) -> torch.Tensor:
    """S64 of the golden file's notation."""
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(0.37 * k**2 + 0.7 * k + phase).reshape(shape)


def test_ranks_are_the_formula_s() -> None:
    x = wave((40, 9), PHI) * torch.linspace(1, 0.1, 9)
    wanted = PROBES["G36_rankme"]["results"]["formula_singular_values_eps_1e-7"]
    assert rankme(x) == pytest.approx(wanted, rel=1e-5)
    assert rankme(7 * x.double()) == pytest.approx(rankme(x.double()))
    turned = torch.linalg.qr(exact((9, 9), 0.1)).Q
    assert rankme(x.double() @ turned) == pytest.approx(rankme(x.double()))


def test_the_decay_of_the_spectrum_is_alpha_req_s() -> None:
    figures, places = PROBES["G36_alpha"]["results"], torch.arange(1, 161).double()
    assert alpha(places**-1.3 * (1 + 0.1 * exact((160,), PHI + 4))) == pytest.approx(figures["alpha_10_100"], rel=1e-6)
    features = exact((300, 130), PHI + 5) * torch.arange(1, 131).double() ** -0.6
    assert alpha(spectrum(features)) == pytest.approx(figures["get_alpha_of_features"], rel=1e-6)
    assert alpha(places[:25].flip(0)) is None


def test_uniformity_is_wang_and_isola_s() -> None:
    unit = unit_rows(wave((20, 5), PHI + 6).double())
    assert uniformity(unit) == pytest.approx(PROBES["G36_align_uniform"]["results"]["uniform_t2"], rel=1e-5)


def test_a_folder_without_labels_has_a_structure_and_again_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = saved(resnet18(), tmp_path / "b.pth", part=8)
    photos(tmp_path / "photos", 6)
    benchmark = Structure("resnet18", 64)
    data = benchmark.prepare(tmp_path / "photos", tmp_path)
    scores = benchmark.evaluate(file, data, tmp_path / "run", 0)
    assert set(scores) == {"rankme", "rankme_unit", "uniformity", "alignment", "alpha"}
    assert 1 <= scores["rankme"] <= 64
    assert scores["alignment"] > 0
    assert benchmark.evaluate(file, data, tmp_path / "run", 1) == scores
    assert benchmark.notes(data) == [ACROSS]
    with pytest.raises(ValueError, match="stride=5"):
        Structure(stride=5)
