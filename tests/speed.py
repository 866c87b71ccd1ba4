"""`python -m tests.speed`: our loader, steps and operations against other people's, and strategies against SimSiam.

The rivals are those of tests.rivals, the oracles of tests.references and the evaluators detectron2's; lightly's steps
are left out where it is not installed. Prints all and keeps it in results/speed, in a file by the device's name. Both
rivals of a line run in turn in one process; a ratio is the oracle's time by ours, its median and range over PAIRS
pairs. Peak memory is that of the tensors alive at once beyond the inputs.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.detection.evaluation import CocoEvaluator, VocEvaluator
from benchmarks.resuming import files
from benchmarks.resuming.strict_json import read_object
from benchmarks.resuming.training import Training
from benchmarks.scenes.folder import write_jpegs
from benchmarks.scenes.layout import Layout
from harness import ROOT, plugins
from harness.engine import provenance
from harness.engine.gauges import gauges
from harness.engine.machine import Machine
from harness.engine.pretrain import build_optimizer, compile_encoder, train_step
from harness.presets import PRESETS
from harness.settings import digest
from harness.verbs.speed import step_ratio, timed
from methods import geometry
from methods.augment import colour
from methods.boxes import Scrl, Windows
from methods.cache import GIB, Cache
from methods.correspondence import FeatureMap, Strategy
from methods.pixsim import Branch, PixSim
from methods.recipe import Heads, Recipe
from methods.rng import CounterRNG
from methods.sampling import Biased
from methods.similarity import cosine, cross_entropy, distance
from methods.strategies.feature_similarity import FeatureSimilarity
from methods.strategies.location import Location
from methods.strategies.pixel_distance import PixelDistance
from methods.strategies.simsiam import SimSiam
from methods.views import RawView, TwoViews, View, frame
from tests import detections, references, rivals
from tests.detections import Amount
from tests.references import Crop

CPU = torch.device("cpu")
PAIRS = 7
SECONDS = 0.05  # that a timing lasts at least
Step = Callable[[], Any]


class Sizes(NamedTuple):
    """How large the inputs are."""

    images: int = 64
    channels: int = 256
    cells: int = 7  # along each side
    pixels: int = 96  # of a view's side, for whole steps


class Rivals(NamedTuple):
    """Two ways to do the same."""

    name: str
    ours: Step
    oracle: Step
    bar: float | None  # the ratio that we claim


class Inputs:
    """A batch of synthetic views on a device."""

    def __init__(self, sizes: Sizes, device: str) -> None:
        """Draw crops as the paper's augmentation would, and random features."""
        random, self.device = np.random.RandomState(0), device
        self.crops = [(crop(random), crop(random)) for _ in range(sizes.images)]
        torch.manual_seed(0)
        self.first, self.second = (self.look(index, sizes) for index in (0, 1))

    def look(self, index: int, sizes: Sizes) -> FeatureMap:
        """One view of every image."""
        box = torch.tensor([pair[index].box for pair in self.crops], dtype=torch.float32, device=self.device)
        cells, z, p = torch.randn(3, sizes.images, sizes.cells**2, sizes.channels, device=self.device)
        frame = torch.tensor([[500.0, 375.0]], device=self.device).expand(sizes.images, -1)
        seed = torch.arange(sizes.images, device=self.device)
        return FeatureMap(cells, box, frame, seed, (sizes.cells, sizes.cells), z, p)


def crop(random: np.random.RandomState) -> Crop:
    """A crop of a 500 × 375 source."""
    height, width = int(random.randint(150, 375)), int(random.randint(150, 500))
    top, left = int(random.randint(0, 376 - height)), int(random.randint(0, 501 - width))
    return Crop(top, left, height, width, bool(random.randint(2)))


def operations(inputs: Inputs) -> list[Rivals]:
    """Every operation with its oracle."""
    first, second, crops, cells = inputs.first, inputs.second, inputs.crops, inputs.first.shape[0]
    numbers = np.random.RandomState(0)

    def randint(low: int, high: int) -> int:
        return int(numbers.randint(low, high))

    lattice = Windows()(first.box, second.box, CounterRNG(first.seed)).first
    rows = (lattice * cells).tolist()
    maps = [view.cells.cpu() for view in (first, second)]
    return [
        Rivals(
            "candidate windows (ReSim)",
            lambda: Windows()(first.box, second.box, CounterRNG(first.seed)),
            lambda: [(references.resim_pairs(a, b, 48, 32), references.resim_pairs(b, a, 48, 32)) for a, b in crops],
            100,
        ),
        Rivals(
            "candidate boxes (SCRL)",
            lambda: Scrl()(first.box, second.box, CounterRNG(first.seed)),
            lambda: [references.scrl_boxes(a, b, randint) for a, b in crops],
            100,
        ),
        Rivals(
            "precise pooling's rows",
            lambda: geometry.read_boxes(lattice, first.shape, 0.0, border=False),
            lambda: [[references.prroi_row(box, cells, cells) for box in image] for image in rows],
            None,
        ),
        pixel_losses(inputs),
        Rivals(
            "feature match (DenseCL)",
            lambda: FeatureSimilarity()(first, second, cosine),
            lambda: [references.densecl_match(q, k) for q, k in zip(*maps, strict=True)],
            None,
        ),
        biased_sampling(inputs),
    ]  # fmt: skip


def pixel_losses(inputs: Inputs) -> Rivals:
    """Forward and backward of one direction of the pixel distance's loss, with its weights given."""
    first, second = inputs.first, inputs.second
    weight = PixelDistance()(first, second, cosine).weight
    branch = Branch(PixelDistance(), Recipe(encoder="resnet18", similarity=cosine), 8)
    p, z = first.p.clone().requires_grad_(), second.z

    def ours() -> Tensor:
        return torch.autograd.grad(branch.distance(p, z, weight), p)[0]

    def oracle() -> Tensor:
        loss = references.pixpro_loss(normalize(p, dim=-1), normalize(z, dim=-1), weight) / 2
        return torch.autograd.grad(loss, p)[0]

    return Rivals("pixel distance's loss", ours, oracle, 1.3)


def biased_sampling(inputs: Inputs) -> Rivals:
    """Points drawn to where the views are dissimilar (k = 3, β = ¾), cross-entropy in both directions."""
    first, second = inputs.first, inputs.second
    random = np.random.RandomState(0)
    height, width = first.shape
    maps = [part.cpu().mT.unflatten(2, (height, width)) for part in (first.p, first.z, second.p, second.z)]

    def oracle() -> list[Any]:
        found = []
        for n, (one, other) in enumerate(inputs.crops):
            p, z, q, k = (part[n] for part in maps)
            shared = references.intersection(one, other) or (0, 0, 1, 1)

            def unlike(u: float, v: float, shared: Any = shared, parts: Any = (p, z, q, k, one, other)) -> float:
                p, z, q, k, one, other = parts
                x, y = shared[0] + u * (shared[2] - shared[0]), shared[1] + v * (shared[3] - shared[1])
                here, there = references.to_view(x, y, one), references.to_view(x, y, other)
                forth = references.cross_entropy(references.read(p, *here), references.read(k, *there))
                return float(forth + references.cross_entropy(references.read(q, *there), references.read(z, *here)))

            found.append(references.pointrend_points(49, 3, 0.75, lambda n: random.rand(n, 2).tolist(), unlike))
        return found

    sampler, place = Biased(), geometry.overlap(first.box, second.box)

    def unlike(points: Tensor) -> Tensor:
        here, there = (Location().read(points, place, view) for view in (first, second))
        forth = distance(cross_entropy, here @ first.p, there @ second.z)
        return (forth + distance(cross_entropy, there @ second.p, here @ first.z)) / 2

    return Rivals("biased sampling", lambda: sampler(place, CounterRNG(first.seed), unlike), oracle, None)


class Peak(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make while they are alive, and keeps their maximum."""

    def __init__(self) -> None:
        """Nothing is alive yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live, self.peak, self.known = 0, 0, set[int]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the storages that it made."""
        held = {part.untyped_storage()._cdata for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)}
        found = function(*args, **(kwargs or {}))
        for part in tree_leaves(found):
            if isinstance(part, Tensor) and part.untyped_storage()._cdata not in held | self.known:
                self.note(part.untyped_storage())
        return found

    def note(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it dies."""
        key, size = storage._cdata, storage.nbytes()
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.release, key, size)

    def release(self, key: int, size: int) -> None:
        """Stop counting it."""
        self.known.discard(key)
        self.live -= size


def peak(step: Step) -> int:
    """The most bytes of tensors that a step has alive at once, its inputs left out."""
    meter = Peak()
    with meter:
        step()
    return meter.peak


def saved(step: Step) -> int:
    """The bytes of the storages that a step keeps for its backward pass, each once, its inputs among them."""
    kept: dict[int, Tensor] = {}  # held, so that no storage takes a dead one's place

    def note(part: Tensor) -> Tensor:
        kept.setdefault(part.untyped_storage()._cdata, part)
        return part

    with torch.autograd.graph.saved_tensors_hooks(note, lambda part: part):
        step()
    return sum(part.untyped_storage().nbytes() for part in kept.values())


def ratios(ours: Step, oracle: Step, device: str, pairs: int = PAIRS, seconds: float = SECONDS) -> list[float]:
    """The oracle's time by ours, sorted, of pairs of timings in turn after a warm-up of both."""
    for step in (ours, oracle):
        step()
    repeats = [max(1, round(seconds / timed(step, device, 1))) for step in (ours, oracle)]
    found = []
    for _ in range(pairs):
        mine, theirs = (timed(step, device, count) for step, count in zip((ours, oracle), repeats, strict=True))
        found.append(theirs / mine)
    return sorted(found)


def steps(sizes: Sizes, device: str, rounds: int = PAIRS) -> dict[str, list[float]]:
    """Each strategy's whole step on a resident batch by SimSiam's, and the gauges' time by it, a ratio a round."""
    recipe = replace(PRESETS["demo"].recipe, size=sizes.pixels, batch=sizes.images)
    first, second = resident(sizes, device)
    runs: dict[str, Step] = {}
    step = partial(train_step, recipe=recipe, epoch=0, views=(first, second))
    for name in plugins.strategy_files():
        if (strategy := plugins.strategy(name)()).trains:
            model = PixSim(strategy, recipe).to(device)
            training = Training(model, build_optimizer(model, recipe))
            runs[name] = partial(step, training)
    loss = runs["location"]()
    runs["gauges"] = lambda: gauges(loss)
    for run in runs.values():
        timed(run, device, 1)
    found: dict[str, list[float]] = {name: [] for name in runs if name != "simsiam"}
    for _ in range(rounds):
        seconds = {name: timed(run, device, 1) for name, run in runs.items()}
        for name, values in found.items():
            values.append(seconds[name] / seconds["simsiam"])
    return {name: sorted(values) for name, values in found.items()}


def resident(sizes: Sizes, device: str) -> tuple[View, View]:
    """Two views of noise that lie on the device."""
    inputs = Inputs(sizes, device)
    images = torch.randn(2, sizes.images, 3, sizes.pixels, sizes.pixels, device=device)
    first, second = (
        View(image.contiguous(memory_format=torch.channels_last), view.box, view.frame, view.seed)
        for image, view in zip(images, (inputs.first, inputs.second), strict=True)
    )
    return first, second


def line(name: str, values: list[float], bar: str) -> str:
    """One row of the table, at most 80 columns."""
    spread = f"{values[0]:.3g} to {values[-1]:.3g}"
    return f"{name:<32}{statistics.median(values):>9.3g}  {spread:<20}{len(values):>3}  {bar}".rstrip()


def report(sizes: Sizes, device: str, pairs: int = PAIRS) -> Iterator[str]:
    """The tables, each line as soon as it is measured."""
    where = provenance.device(device)
    yield from (
        f"B = {sizes.images}, C = {sizes.channels}, {sizes.cells} × {sizes.cells} cells, {where['device']}",
        f"torch {provenance.installed('torch')}, {torch.get_num_threads()} threads",
        "",
        f"{'times as fast as the oracle':<32}{'median':>9}  {'range':<20}{'n':>3}  bar",
    )
    rivals = operations(Inputs(sizes, device))
    for one in rivals:
        bar = "" if one.bar is None else f"≥ {one.bar:g}"
        yield line(one.name, ratios(one.ours, one.oracle, device, pairs), bar)
    pixel = next(one for one in rivals if one.bar == 1.3)
    for what, measure in (("peak beside the inputs", peak), ("kept for the backward pass", saved)):
        ours, oracle = (measure(step) / 2**20 for step in (pixel.ours, pixel.oracle))
        yield f"  {what}: ours {ours:.1f} MiB, the logits' form {oracle:.1f} MiB"
    yield from (
        "",
        f"{f'a step at {sizes.pixels} px by simsiam’s':<32}{'median':>9}  {'range':<20}{'n':>3}  bar",
    )
    for name, values in steps(sizes, device, pairs).items():
        bar = "" if name == "gauges" else "≤ 1.10" if name == "location_region" else "≤ 1.05"
        yield line("gauges, once in many steps" if name == "gauges" else name, values, bar)


def copies(results: Path, count: int) -> None:
    """That many records under results/runs: the demo's with other seeds, every fifth with other settings."""
    originals = sorted((ROOT / "results" / "demo" / "runs").iterdir())
    for number in range(count):
        settings = read_object(originals[number % len(originals)] / "config.json")
        settings["seed"] = number
        settings["recipe"]["epochs"] += number % 5 == 4
        folder = results / "runs" / f"{settings['strategy']}-s{number}-{digest(settings)}"
        shutil.copytree(originals[number % len(originals)], folder)
        files.write_json(folder / "config.json", settings)


TABLE = """import sys; from harness.cli import main; main(["table", "A1", "--results", sys.argv[1]])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)"""


def table_of(results: Path) -> tuple[float, float]:
    """Seconds and peak MiB of `harness table A1`, a process of its own that tells its peak (Linux)."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", TABLE, str(results)], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - start, int(done.stderr) / 1024


def many_runs(count: int = 1000, times: int = PAIRS) -> Iterator[str]:
    """How long a table of so many runs takes, and its memory."""
    with tempfile.TemporaryDirectory() as folder:
        copies(Path(folder), count)
        seconds, memory = (
            sorted(values) for values in zip(*(table_of(Path(folder)) for _ in range(times)), strict=True)
        )
    yield from ("", f"{f'harness table A1, {count} runs':<32}{'median':>9}  {'range':<20}{'n':>3}  bar")
    yield line("seconds", seconds, "≤ 2")
    yield line("peak memory, MiB", memory, "≤ 300")


class Photos(NamedTuple):
    """What the loaders read."""

    images: int = 32
    pixels: int = 400  # a side of the images, JPEGs of embedded scenes
    view: int = 224  # a side of the views
    seconds: float = 0.4  # that a timing lasts at least


def heading(title: str) -> Iterator[str]:
    """An empty line and the names of the columns."""
    yield from ("", f"{title:<32}{'median':>9}  {'range':<20}{'n':>3}  bar")


def loaders(photos: Photos, pairs: int = PAIRS) -> Iterator[str]:
    """Pairs of views a second on one core: ours, by what is left to a device or kept, against torchvision's in PIL."""
    recipe, threads = Recipe(size=photos.view), torch.get_num_threads()
    torch.set_num_threads(1)
    yield from heading(f"loader {photos.pixels}→{photos.view} px, torchvision’s")
    with tempfile.TemporaryDirectory(prefix="harness-speed-") as folder:
        files = write_jpegs(Path(folder), Layout(size=photos.pixels), photos.images)
        cache = Cache(files, frame, photos.images * 3 * photos.pixels**2 / GIB)
        kept, made = (TwoViews(files, recipe, 0, colours=False, cache=one) for one in (cache, None))
        oracle = rivals.torchvision_pair(files, photos.view)
        ways: list[tuple[str, TwoViews, Step, str]] = [
            ("all on the CPU (default there)", TwoViews(files, recipe, 0), oracle, "≥ 1"),
            ("colours left to the device", made, oracle, "≥ 3"),
            ("… and reduced decoding", TwoViews(files, recipe, 0, colours=False, reduced=True), oracle, "≥ 3"),
            ("all on the CPU, cached", TwoViews(files, recipe, 0, cache=cache), oracle, ""),
            ("second epoch by the first", kept, walk(made), "≥ 1.5"),
        ]
        for name, views, rival, bar in ways:
            yield line(f"  {name}", ratios(walk(views), rival, "cpu", pairs, photos.seconds), bar)
        batch: RawView = default_collate([kept[0, index][0] for index in range(photos.images)])
        view = timed(lambda: colour([batch], CPU), "cpu", 1) / photos.images
        yield f"  the device's part: {view * 1e3:.2f} ms a view on one core"
    torch.set_num_threads(threads)


def walk(views: TwoViews) -> Step:
    """The next pair of views at every call, all images in turn."""
    turns = count()
    return lambda: views[divmod(next(turns), len(views))]


class Way(NamedTuple):
    """How a step is made."""

    recipe: Recipe
    fused: bool = False
    compile: bool = False

    def words(self) -> str:
        """What is on."""
        return ", ".join([self.recipe.precision, *(name for name in ("fused", "compile") if getattr(self, name))])


def training(sizes: Sizes, device: str, way: Way, pairs: int = PAIRS) -> Iterator[str]:
    """Whole steps on a resident batch, ours by lightly’s: the same ResNet, precision and, of SimSiam, heads."""
    first, second = resident(sizes, device)
    plain = first.image.contiguous(), second.image.contiguous()  # lightly's examples leave the memory as it is
    encoder, bf16, bar = way.recipe.encoder, way.recipe.precision == "bf16", f"≥ {1.3 if first.image.is_cuda else 1.1}"
    yield from heading(f"{sizes.images} pairs at {sizes.pixels} px, by lightly’s")
    yield f"  {encoder}, both {way.recipe.precision}; ours {way.words()}"
    try:
        simsiam, densecl = (one(encoder, plain, bf16) for one in (rivals.lightly_simsiam, rivals.lightly_densecl))
    except ModuleNotFoundError:
        yield "  not measured: lightly is not installed here"
        return
    yield line("  simsiam", ratios(whole_step(Narrow(), first, second, way), simsiam, device, pairs), bar)
    dense = ratios(whole_step(FeatureSimilarity(), first, second, way), densecl, device, pairs)
    yield line("  feature_similarity, DenseCL’s", [2 * ratio for ratio in dense], bar)
    yield f"    a view with a gradient; lightly’s step has one, ours two: {statistics.median(dense):.3g} a step"


class Narrow(SimSiam):
    """SimSiam with the heads of lightly's example."""

    heads = Heads(hidden=512, out=128, predictor=64)


def whole_step(strategy: Strategy, first: View, second: View, way: Way) -> Step:
    """A training step of a strategy on the views."""
    model = PixSim(strategy, way.recipe).to(first.image.device)
    training = Training(model, build_optimizer(model, way.recipe, way.fused))
    if way.compile:
        torch.compiler.reset()  # a batch of another size would be compiled for any size
        compile_encoder(model)
    return partial(train_step, training, way.recipe, 0, (first, second))


class Large(NamedTuple):
    """What the tuned step is timed at."""

    images: int = 256  # the paper's batch
    pixels: int = 224
    encoder: str = "resnet50"
    matrix: int = 8192  # a side of the product that shows the device's peak


def tuned(device: str, large: Large, pairs: int = PAIRS) -> Iterator[str]:
    """The paper's step on a resident batch with all that is fast, against our own fp32 eager one."""
    first, second = resident(Sizes(images=large.images, pixels=large.pixels), device)
    recipe = replace(PRESETS["paper"].recipe, encoder=large.encoder)
    precision = "bf16" if first.image.is_cuda else "fp32"  # which a CPU without matrix units would slow down
    way = Way(replace(recipe, precision=precision), fused=True, compile=True)
    fast, eager = (whole_step(Location(), first, second, one) for one in (way, Way(recipe)))
    yield from heading(f"{large.images} pairs at {large.pixels} px, own fp32 eager")
    yield f"  {large.encoder}; ours {way.words()}; both channels_last"
    bar = "≥ 2.5" if first.image.is_cuda else ""
    yield line("  location, TF32 convolutions", ratios(fast, eager, device, pairs), bar)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield line("  location, no TF32", ratios(fast, eager, device, pairs), bar)
    for name, step in (("tuned", fast), ("fp32 eager", eager)):
        yield f"    {name}: {pace(step, large.images, device, pairs)}"
    seconds, peak = statistics.median(timed(fast, device, 1) for _ in range(pairs)), matrix_peak(large.matrix, device)
    with FlopCounterMode(display=False) as work:
        eager()
    share = work.get_total_flops() / seconds / peak
    yield f"    {share:.1%} of the {peak / 1e12:.3g} TFLOP/s of a product of {large.matrix}²"


def pace(step: Step, images: int, device: str, times: int) -> str:
    """Pairs a second, the median of so many steps, and on a GPU the peak of the allocated memory."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(timed(step, device, 1) for _ in range(times))
    memory = f", {torch.cuda.max_memory_allocated(device) / GIB:.1f} GiB" if device.startswith("cuda") else ""
    return f"{images / seconds:.4g} pairs/s{memory}"


def matrix_peak(side: int, device: str) -> float:
    """Floating-point operations a second of one large product, bf16 on a GPU."""
    kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
    one, other = torch.randn(2, side, side, device=device, dtype=kind)
    timed(lambda: one @ other, device, 10)  # warms up
    return 2 * side**3 / statistics.median(timed(lambda: one @ other, device, 10) for _ in range(PAIRS))


def starting(pairs: int = PAIRS) -> Iterator[str]:
    """The command line's start by torch's import, processes of their own."""

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)

    yield from heading("start-up, by import torch")
    found = ratios(partial(run, "-c", "import torch"), partial(run, "-m", "harness", "--help"), "cpu", pairs)
    yield line("  harness --help", found, "≤ 0.1")


class Found(NamedTuple):
    """What the evaluators judge: as many objects and detections at most, the sizes of VOC's and COCO's images."""

    voc: Amount = Amount(images=100, objects=5, found=100, classes=20, size=(500, 375))
    coco: Amount = Amount(images=40, objects=14, found=40, classes=80, size=(640, 480))


def evaluation(found: Found, pairs: int = PAIRS) -> Iterator[str]:
    """Taking in all detections and scoring them, by detectron2's evaluators; the annotations are there already."""
    yield from heading("evaluation, by detectron2’s")
    with tempfile.TemporaryDirectory(prefix="harness-speed-") as name, redirect_stdout(io.StringIO()):
        folder = Path(name)
        with detections.voc(0, found.voc) as case:
            ours, theirs = VocEvaluator(case.test, 2007), detections.detectron2_voc(case.test, 2007, folder)
            voc = ratios(partial(case.score, ours), partial(case.score, theirs), "cpu", pairs)
        with detections.coco(0, folder, found.coco) as case:
            ours, theirs = CocoEvaluator(case.test, ("bbox", "segm")), detections.detectron2_coco(case.test)
            coco = ratios(partial(case.score, ours), partial(case.score, theirs), "cpu", pairs)
    yield line("  Pascal VOC's AP", voc, "≥ 3")
    yield line("  COCO's AP of boxes and masks", coco, "≥ 3")


def whole(device: str) -> Iterator[str]:
    """The step with its loader against the naked backbone, at the paper's size on a GPU."""
    gpu, recipe = device == "cuda", PRESETS["demo"].recipe
    if gpu:
        recipe = replace(PRESETS["paper"].recipe, precision="bf16")
    workers, augment = max(1, (os.cpu_count() or 2) - 1), "device" if gpu else "workers"
    for compile in ways():
        yield f"\n{step_ratio(recipe, Machine(device, workers, augment, compile=compile, fused=gpu))}"


def ways() -> tuple[bool, ...]:
    """Whether to compile: both, where there is the compiler that inductor and triton call."""
    return (False, True) if shutil.which("g++") else (False,)


def others(device: str) -> Iterator[str]:
    """The step against lightly's."""
    gpu, recipe = device == "cuda", PRESETS["demo"].recipe
    if gpu:
        recipe = replace(recipe, precision="bf16", encoder="resnet50")
    for compile in ways():
        yield from training(Sizes(images=256, pixels=224) if gpu else Sizes(), device, Way(recipe, gpu, compile))


def everything(device: str) -> dict[str, Callable[[], Iterator[str]]]:
    """What can be measured, by name."""
    found: dict[str, Callable[[], Iterator[str]]] = {
        "step": lambda: whole(device),
        "start": starting,
        "table": many_runs,
        "loader": lambda: chain(loaders(Photos()), loaders(Photos(view=96))),
        "lightly": lambda: others(device),
        "evaluation": lambda: evaluation(Found()),
        "operations": lambda: chain([""], report(Sizes(), device)),
    }
    return found | ({"tuned": lambda: tuned(device, Large())} if device == "cuda" else {})


def main(chosen: list[str]) -> None:
    """Print the chosen parts, or all, which are then kept."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = everything(device)
    if unknown := set(chosen) - set(parts):
        sys.exit(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(parts)}")
    lines = []
    for text in chain([f"load at the start {os.getloadavg()[0]:.1f}"], *(parts[name]() for name in chosen or parts)):
        print(text, flush=True)
        lines.append(text)
    if not chosen:
        name = re.sub(r"\W+", "-", str(provenance.device(device)["device"])).strip("-").lower()
        kept = ROOT / "results" / "speed" / f"{name}.md"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("\n".join(["`make speed`", "", "```text", *lines, "```", ""]), encoding="utf-8")
        print(f"\nkept: {kept.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
