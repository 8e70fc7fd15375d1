"""Ablations: fair twins, right conclusions, and resuming after an interruption."""

import dataclasses
import functools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.circuits import Circuit, Op, w, x
from qnn_jax.configs import LeastSquaresConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.models import HybridRegressor, MLPRegressor
from qnn_jax.report.ablation import write_ablation
from qnn_jax.runs import RunDirectory
from qnn_jax.runs.loop import StoppedError
from qnn_jax.studies.ablation import ablate
from qnn_jax.studies.ablation_table import Ablation, Cell, check_ablation, compare
from qnn_jax.tasks import Calculator, Fashion, TaskDefaults, train
from qnn_jax.training.epochs import fit_epoch, init_state
from qnn_jax.training.task import ACCURACY, HYBRID, MEAN_L1, Examples, Folders, Member, Splits

CIRCUIT = Circuit(1, (Op("ry", 0, w[0] * x[0] + w[1]),))
TEST = 40
LOADED: list[tuple[int, int]] = []


@dataclass(frozen=True)
class Cosine(TaskDefaults):
    """The tests' own task: cos(x) from one qubit, with any trainer."""

    count: int = 0
    own_test: bool = False
    names: tuple[str, ...] = (HYBRID, "frozen", "linear")
    training: TrainingConfig | LeastSquaresConfig = TrainingConfig(
        epochs=2, batch_size=8, learning_rate=0.1, shift=0, flip=False
    )

    name: ClassVar[str] = "cosine"
    metric: ClassVar = MEAN_L1
    numbers: ClassVar[frozenset[str]] = frozenset()

    def check(self) -> None:
        if self.count > 30:
            raise InputError(f"Argument `count` must be at most 30, but is {self.count}.")

    def load(self, folders: Folders, seed: int, report: Any) -> Splits:
        LOADED.append((self.count, seed))
        count = self.count or 32
        train = _draw([seed, count] if self.count else [7], count - (count == 13))
        test = _draw([seed, 0] if self.own_test else [8], TEST)
        return Splits(train, _draw([9], 0), test, "a <toy> & its twins", "0" * 64)

    def sized(self, count: int) -> "Cosine":
        size = min(self.training.batch_size, count or 32)
        return replace(self, count=count, training=replace(self.training, batch_size=size))

    def members(self) -> tuple[Member, ...]:
        network = HybridRegressor(CIRCUIT, ("Z",))
        members = (
            Member(HYBRID, network, "the model as is"),
            Member("frozen", network, "as drawn", "training the circuit", frozen=True),
            Member("linear", MLPRegressor(0), "a line", "the whole hybrid", alongside=True),
        )
        return tuple(member for member in members if member.name in self.names)


def _draw(seed: list[int], count: int) -> Examples:
    inputs = np.random.default_rng(seed).uniform(-1, 1, (count, 1)).astype(np.float32)
    return Examples(inputs, np.cos(inputs[:, 0]))


TWINS = (
    Member(HYBRID, MLPRegressor(0), "the model as is"),
    Member("separable", MLPRegressor(0), "as is, but for gates on two", "the entangling gates"),
    Member("pixels", MLPRegressor(0), "logistic regression", "the whole hybrid"),
)


def table_of(scores, metric=ACCURACY, twins=TWINS, **changes) -> Ablation:
    """An ablation with these scores by size and twin."""
    seconds = {"compile": 0.1, "training": 0.2}
    cells = tuple(
        Cell(size, twin, {"classical": 10, "quantum": 6}, 10, 3, 30, tuple(values), 0, seconds)
        for size, by_twin in scores.items()
        for twin, values in by_twin.items()
    )
    return Ablation("toy", "a toy", "images", metric, twins, 100, cells, **changes)


# Conclusions


def test_the_table_is_paired_and_corrected() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(0.9, 0.05, 12)  # seeds differ far more than twins do
    scores = {100: {HYBRID: seeds, "separable": seeds, "pixels": seeds - 0.01}}
    hybrid, separable, pixels = compare(scores, ACCURACY)
    assert hybrid.mean == pytest.approx(seeds.mean())
    assert hybrid.worst == seeds.min()
    assert (separable.gain, separable.p, separable.differs) == (0, 1, False)
    assert pixels.gain == pytest.approx(1.0)  # points
    assert pixels.p == pytest.approx(2 / 2**12)
    assert pixels.p_corrected == pytest.approx(2 * pixels.p)
    assert pixels.differs
    # The broken subject: without pairing by seed, the difference is not detected.
    (_, unpaired) = compare({100: {HYBRID: seeds, "pixels": rng.permutation(seeds)}}, ACCURACY)
    assert not unpaired.differs
    assert unpaired.gain_interval[1] - unpaired.gain_interval[0] > 1


def test_less_can_be_better() -> None:
    found = table_of(
        {200: {HYBRID: [0.1] * 9, "separable": [0.3] * 8 + [0.31]}}, MEAN_L1, TWINS[:2]
    )
    separable = found.row(200, "separable")
    assert separable.gain == pytest.approx(0.2, abs=0.01)
    assert separable.worst == 0.31
    assert found.headline.startswith(
        "On this task the entangling gates helped: +0.2 ± 0.0026 mean L1 over 9 seeds"
    )


def test_intervals_of_scores_stay_where_scores_are() -> None:
    (row,) = compare({50: {HYBRID: [1.0, 1.0, 0.5]}}, ACCURACY)
    assert row.interval[1] == 1.0
    assert row.interval[0] < 0.5


@pytest.mark.parametrize(
    ("shift", "said"),
    [(0.0, "made no measurable difference"), (-0.02, "helped"), (0.02, "did harm")],
)
def test_sentences_follow_from_the_numbers(shift: float, said: str) -> None:
    seeds = np.linspace(0.9, 0.95, 10)
    wobble = np.tile([0.001, -0.001], 5)
    found = table_of(
        {
            size: {HYBRID: seeds, "separable": seeds + shift + wobble, "pixels": seeds}
            for size in (50, 1000)
        }
    )
    half = 100 * 2.262157 * wobble.std(ddof=1) / math.sqrt(10)
    told = f"{-100 * shift + 0.0:+.2f} ± {half:.2f} points"
    assert found.headline == (
        f"On this task the entangling gates {said}: {told} over 10 seeds, trained on 1,000 images."
    )
    large, small = found.verdicts
    alike = "no measurable difference: "
    if shift:
        assert large.startswith(
            f"Trained on 1,000 images: the entangling gates {said} ({told}, corrected p = "
            f"0.0039); {alike}"
        )
    else:
        assert large.startswith(f"Trained on 1,000 images: {alike}the entangling gates ({told}), ")
    assert small.startswith("Trained on 50 images: ")
    assert small.endswith("the whole hybrid (+0.00 ± 0.00 points).")


def test_too_few_seeds_are_said_to_be_too_few() -> None:
    seeds = np.linspace(0.9, 0.95, 4)
    found = table_of({200: {HYBRID: seeds, "separable": seeds, "pixels": seeds - 0.1}})
    assert found.headline.endswith("over 4 seeds, trained on 200 images. Too few seeds to tell.")
    assert "4 seeds are too few to tell" in found.verdicts[-1]
    assert "takes 7 seeds" in found.verdicts[-1]  # 2 twins · 2 / 2^7 < 0.05
    assert "helped" not in str(found)


# Arguments


@pytest.mark.parametrize(
    ("task", "arguments", "words"),
    [
        (Fashion(), {"sizes": (51,)}, r"`sizes` .*has 51: Argument `train_images` .*multiple of 2"),
        (Fashion(), {"sizes": (13_000,)}, r"has 13000: Argument `train_images` must be at most 12"),
        (Fashion(), {"sizes": ()}, "`sizes` must hold one or more different numbers"),
        (Fashion(), {"sizes": (50, 50)}, "`sizes` must hold one or more different numbers"),
        (Fashion(), {"sizes": (-2,)}, "`sizes` must hold one or more different numbers"),
        (Calculator(), {"sizes": (10, 0)}, r"has all \(0\): Argument `count` must be at least 2"),
        (
            Calculator(),
            {"sizes": (1,)},
            r"has 1: Argument `count` must be at least 2, because points",
        ),
        (Fashion(), {"seeds": 1}, "`seeds` must be between 2, for an interval, and 100"),
        (Fashion(), {"seeds": 101}, "`seeds` must be between 2"),
        (Fashion(), {"first_seed": -1}, "`first_seed` must be an integer between 0"),
        (Fashion(), {"first_seed": 2**32 - 19}, "`first_seed` must leave room for 19 seeds above"),
        (Fashion(train_images=100), {}, "`train_images` must be left out .* but is 100"),
        (Fashion(validation_images=7), {}, "`validation_images` must be left out"),
        (Fashion(twin=False), {}, "`twin` must be left out"),
        (Calculator(points=700), {"sizes": (10,)}, "`points` must be left out"),
        (Calculator(baseline_2022=7), {"sizes": (10,)}, "`baseline_2022` must be left out"),
        (
            Calculator(training=LeastSquaresConfig(batch_size=64)),
            {"sizes": (10,)},
            "`batch_size` must be left out of an ablation of these `sizes`, which decide it, but",
        ),
    ],
)
def test_what_cannot_be_ablated_is_one_sentence(task: Any, arguments: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_ablation(task, **{"sizes": (50, 0), "seeds": 20, **arguments})


def test_sizes_come_in_order_and_all_examples_last() -> None:
    assert check_ablation(Fashion(), (0, 200, 50), 20) == (50, 200, 0)


def test_errors_found_in_the_data_are_one_sentence_too() -> None:
    with pytest.raises(InputError, match=r"`sizes` .* for 13 it gives 12\.$"):
        ablate(Cosine(), sizes=[13], seeds=2)
    # There are 32 in all, but the task's own check accepts at most 30.
    with pytest.raises(InputError, match=r"`sizes` .*has 32: Argument `count` must be at most 30"):
        ablate(Cosine(), sizes=[32], seeds=2)
    with pytest.raises(InputError, match="`epochs` must be at least 1 in an ablation, but is 0"):
        ablate(replace(Cosine(), training=TrainingConfig(epochs=0)), seeds=2)


# Training


@functools.cache
def whole() -> tuple[Ablation, list[tuple[int, int]], list[str]]:
    """An uninterrupted ablation, its loaded data, and its output."""
    LOADED.clear()
    lines: list[str] = []
    found = ablate(Cosine(), sizes=[0, 12], seeds=3, first_seed=5, tell=lines.append)
    return found, list(LOADED), lines


@pytest.mark.slow
def test_a_seed_of_a_program_is_the_single_training() -> None:
    found, _, _ = whole()
    for size, seed in ((12, 5), (12, 7), (0, 6)):
        alone = train(Cosine().sized(size), seed).summary
        scores = found.scores[size or 32]
        assert scores[HYBRID][seed - 5] == pytest.approx(alone["test_mean_l1"], rel=1e-4)
        linear = alone["baselines"]["linear"]
        assert scores["linear"][seed - 5] == pytest.approx(linear, rel=1e-4)
    # With another seed the score would differ.
    assert all(len(set(cell.scores)) == 3 for cell in found.cells)


def test_examples_are_loaded_once_a_seed() -> None:
    _, loaded, _ = whole()
    # The largest size is loaded first, to query the data; it is the same for all seeds.
    assert loaded == [(0, 5), (12, 5), (12, 6), (12, 7), (0, 5)]


def test_cells_tell_what_a_twin_got() -> None:
    found, _, lines = whole()
    assert [(cell.size, cell.twin) for cell in found.cells] == [
        (size, twin) for size in (12, 32) for twin in (HYBRID, "frozen", "linear")
    ]
    hybrid, frozen, linear = found.cells[:3]
    assert hybrid.parameters == {"classical": 2, "quantum": 2, "frozen": 0}
    assert frozen.parameters == {"classical": 2, "quantum": 0, "frozen": 2}
    assert linear.parameters == {"classical": 2, "quantum": 0, "frozen": 0}
    # 12 examples have one batch of 8 in each of two epochs.
    assert (hybrid.batch_size, hybrid.steps, hybrid.passes) == (8, 2, 1)
    assert (found.cells[3].steps, found.cells[3].passes) == (8, 2)
    assert sum("/6 " in line for line in lines) == 6
    assert any("6: 3 models at 12, 32 examples, each of 3 seeds side by side" in x for x in lines)
    assert "training the circuit" in found.headline  # what the first twin lacks
    assert "They are the same for all seeds" in found.notes[-1]


@pytest.mark.slow
def test_each_seed_may_have_its_own_examples_to_test_on() -> None:
    task, (shared, _, _) = Cosine(own_test=True, names=(HYBRID, "linear")), whole()
    found = ablate(task, sizes=[12], seeds=2, first_seed=5)
    alone = train(task.sized(12), 6).summary["test_mean_l1"]
    assert found.scores[12][HYBRID][1] == pytest.approx(alone, rel=1e-4)
    assert found.scores[12][HYBRID] != shared.scores[12][HYBRID][:2]
    assert "Each seed has its own." in found.notes[-1]


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    "training", [Cosine().training, LeastSquaresConfig(epochs=1, batch_size=0, restarts=2)]
)
def test_a_frozen_circuit_keeps_its_bits_and_all_else_moves(training: Any) -> None:
    task = Cosine(training=training)
    splits = task.load(Folders(), 0, None)
    examples = jax.tree.map(jnp.asarray, (splits.train, splits.validation))
    names, key = (HYBRID, "frozen"), jax.random.key(0)
    state = init_state(task, names, key, splits.train.inputs)
    before = jax.tree.map(np.asarray, task.trainer.parameters(state))
    state, _ = fit_epoch(task, names, state, key, jnp.asarray(0), *examples)
    after = task.trainer.parameters(state)
    for name, moves in ((HYBRID, True), ("frozen", False)):
        same = jax.tree.map(np.array_equal, before[name], after[name])
        assert not any(jax.tree.leaves(same["head"]))
        assert same["quantum"]["weights"] != moves


def test_seeds_above_half_are_their_own() -> None:
    found = ablate(Cosine(), sizes=[12], seeds=3, first_seed=2**32 - 3)
    alone = train(Cosine().sized(12), 2**32 - 1).summary["test_mean_l1"]
    assert found.scores[12][HYBRID][2] == pytest.approx(alone, rel=1e-4)


# Runs


def open_run(folder: Path, **changes: Any) -> RunDirectory:
    config = {"sizes": [0, 12], "seeds": 3, **changes}
    return RunDirectory.open(folder, "ablate", config)


def test_it_stops_on_request_and_resumes(tmp_path: Path) -> None:
    asked = iter(range(100))
    # Called after each of two epochs, and once more by the loop: inside the third program.
    stop = lambda: next(asked) == 6  # noqa: E731
    again = functools.partial(ablate, Cosine(), sizes=[0, 12], seeds=3, first_seed=5)
    with open_run(tmp_path) as run, pytest.raises(StoppedError, match=r"^Saved 2 of 6$"):
        again(run=run, stop=stop)
    folder = tmp_path / "ablate"
    assert not (folder / "summary.json").exists()
    with pytest.raises(InputError, match=r"has another configuration .*seeds: 3 there, 4 now"):
        open_run(tmp_path, seeds=4)
    lines: list[str] = []
    with open_run(tmp_path) as run:
        found = again(run=run, tell=lines.append, publish=lambda found: None)
    assert f"Resuming {folder}." in lines
    assert [line.split()[0] for line in lines if "/6 " in line] == ["3/6", "4/6", "5/6", "6/6"]
    uninterrupted, _, _ = whole()
    assert [cell.scores for cell in found.cells] == [cell.scores for cell in uninterrupted.cells]
    stored = json.loads((folder / "ablate.json").read_text("utf-8"))
    assert [cell["scores"] for cell in stored["cells"]] == [cell.scores for cell in found.cells]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 6
    with open_run(tmp_path) as run:
        assert run.finished


def test_it_writes_its_files(tmp_path: Path) -> None:
    found, _, _ = whole()
    found = dataclasses.replace(found, quick=True)
    found = dataclasses.replace(
        found, cells=(*found.cells[:-1], found.cells[-1]._replace(diverged=1))
    )
    write_ablation(tmp_path, found)
    summary = found.summary
    # Evaluation uses the newest run of a task: an ablation must not be mistaken for one.
    assert (summary["task"], summary["of"], summary["quick"]) == ("ablate", "cosine", True)
    page = (tmp_path / "report.html").read_text("utf-8")
    for words in (
        summary["headline"],
        "a &lt;toy&gt; &amp; its twins",
        "quick look",
        "1 seeds diverged",
        "12 examples: each seen 1 times in 2 steps, batches of 8, 3 seeds",
        "nothing was chosen by them",
        "2 classical + 2 frozen",
    ):
        assert words in page
    pictures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert pictures == {"sizes.png", "differences.png"}
    assert all(f"figures/{name}" in page for name in pictures)


@pytest.mark.slow
def test_seeds_that_diverge_are_counted_and_shown(tmp_path: Path) -> None:
    training = replace(Cosine().training, learning_rate=1e30)
    wild = Cosine(names=(HYBRID, "linear"), training=training)
    with RunDirectory.open(tmp_path, "wild", {}) as run:
        found = ablate(
            wild,
            sizes=[12],
            seeds=2,
            run=run,
            publish=lambda found: write_ablation(run.path, found),
        )
    assert all(cell.diverged == 2 for cell in found.cells)
    assert "nan" in str(found)
    assert "2 seeds diverged" in (tmp_path / "wild/report.html").read_text("utf-8")
    assert json.loads((tmp_path / "wild/summary.json").read_text())["table"][0]["mean"] is None
