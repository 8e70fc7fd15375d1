"""`make ablate`: fair twins, honest sentences, and a study that survives its interruption."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pipelines import ablate_calculator, ablate_fashion
from pipelines.ablate import CalculatorConfig, FashionConfig, check_fashion, defaults, main
from pipelines.ablate_run import Study, Trained, run_study
from pipelines.ablate_table import ACCURACY, HYBRID, MEAN_L1, Twin, compare, headline, verdicts
from pipelines.calculator_run import test_points as points_to_test
from qnn_jax.configs import CalculatorModelConfig, ModelConfig, TrainingConfig
from qnn_jax.data import ImageDataset
from qnn_jax.errors import InputError
from qnn_jax.models import calculator
from qnn_jax.operations import operation
from qnn_jax.training import Examples, evaluate, fit_epoch, init_state

REPOSITORY = Path(__file__).parents[2]
CONFIG = FashionConfig(
    seeds=3,
    sizes=("40", "all"),
    least_steps=12,
    model=ModelConfig(channels=(), hidden=(4,)),
    training=TrainingConfig(epochs=2, batch_size=16, shift=0, flip=False),
)
TWINS = (
    Twin(HYBRID, "the model as is"),
    Twin("separable", "without gates on several qubits", "the entangling gates"),
    Twin("pixels", "logistic regression", "the whole hybrid"),
)


def dataset(count: int, seed: int = 0) -> ImageDataset:
    """Images of which one half is bright, by class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % 2
    images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    images[labels == 1, :14] += 8
    images[labels == 0, 14:] += 8
    return ImageDataset("toy", images, labels, images, labels, ("dark", "bright"), "0" * 64)


# What the numbers say


def test_the_table_is_paired_and_corrected() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(0.9, 0.05, 20)  # seeds differ far more than twins do
    scores = {100: {HYBRID: seeds, "separable": seeds, "pixels": seeds - 0.01}}
    hybrid, separable, pixels = compare(scores, ACCURACY)
    assert hybrid.mean == pytest.approx(seeds.mean())
    assert hybrid.worst == seeds.min()
    assert (separable.gain, separable.p, separable.differs) == (0, 1, False)
    assert pixels.gain == pytest.approx(1.0)  # points
    assert pixels.p == pytest.approx(2 / 2**20)
    assert pixels.p_corrected == pytest.approx(2 * pixels.p)
    assert pixels.differs
    # A broken twin: without pairing by seed, the difference drowns.
    (_, unpaired) = compare({100: {HYBRID: seeds, "pixels": rng.permutation(seeds)}}, ACCURACY)
    assert not unpaired.differs
    assert unpaired.gain_interval[1] - unpaired.gain_interval[0] > 1


def test_less_can_be_better() -> None:
    scores = {200: {HYBRID: [0.1] * 9, "separable": [0.3] * 8 + [0.31]}}
    _, separable = compare(scores, MEAN_L1)
    assert separable.gain == pytest.approx(0.2, abs=0.01)
    assert separable.worst == 0.31
    assert headline(compare(scores, MEAN_L1), TWINS, MEAN_L1, 9, "points").startswith(
        "On this task the entangling gates helped: +0.2 ± 0.0026 mean L1 over 9 seeds"
    )


def test_intervals_of_scores_stay_where_scores_are() -> None:
    (row,) = compare({50: {HYBRID: [1.0, 1.0, 0.5]}}, ACCURACY)
    assert row.interval[1] == 1.0
    assert row.interval[0] < 0.5


@pytest.mark.parametrize(
    ("shift", "found"),
    [(0.0, "made no measurable difference"), (-0.02, "helped"), (0.02, "did harm")],
)
def test_sentences_follow_from_the_numbers(shift: float, found: str) -> None:
    seeds = np.linspace(0.9, 0.95, 10)
    wobble = np.tile([0.001, -0.001], 5)
    scores = {
        size: {HYBRID: seeds, "separable": seeds + shift + wobble, "pixels": seeds}
        for size in (50, 1000)
    }
    rows = compare(scores, ACCURACY)
    half = 100 * 2.262157 * wobble.std(ddof=1) / math.sqrt(10)
    told = f"{-100 * shift + 0.0:+.2f} ± {half:.2f} points"
    assert headline(rows, TWINS, ACCURACY, 10, "images") == (
        f"On this task the entangling gates {found}: {told} over 10 seeds, trained on 1,000 images."
    )
    large, small = verdicts(rows, TWINS, ACCURACY, "images")
    alike = "no measurable difference: "
    if shift:
        assert large.startswith(
            f"Trained on 1,000 images: the entangling gates {found} ({told}, corrected p = "
            f"0.0039); {alike}"
        )
    else:
        assert large.startswith(f"Trained on 1,000 images: {alike}the entangling gates ({told}), ")
    assert small.startswith("Trained on 50 images: ")
    assert small.endswith("the whole hybrid (+0.00 ± 0.00 points).")


# What is trained


@pytest.fixture(scope="module")
def members() -> dict[str, ablate_fashion.Member]:
    return {member.twin.name: member for member in ablate_fashion.members_of(CONFIG, 2)}


def test_twins_are_described_by_what_they_got() -> None:
    told = {m.twin.name: m.twin.what for m in ablate_fashion.members_of(FashionConfig(), 2)}
    assert next(iter(told)) == HYBRID
    assert "without the 6 gates on several qubits" in told["separable"]
    assert "tanh, 2 → 2 → 1" in told["classical"]
    assert "64 numbers" in told["network"]
    wide = dataclasses.replace(FashionConfig(), model=ModelConfig(num_qubits=4))
    told = {m.twin.name: m.twin.what for m in ablate_fashion.members_of(wide, 10)}
    assert "a layer of 56 weights" in told["classical"]  # 4 → 4 → 10
    assert "gain" not in told[HYBRID]


def test_a_frozen_circuit_keeps_its_bits_and_all_else_moves(members) -> None:
    data = dataset(64)
    train = ablate_fashion.training_images(data, CONFIG, 64)
    moved = {}
    for name in ("frozen", HYBRID):
        task = ablate_fashion.task_at(CONFIG, members[name], 64)
        key = jax.random.key(0)
        state = init_state(task, key, train.images)
        before = jax.tree.map(np.asarray, state.params[name])
        state, _ = fit_epoch(task, state, key, jnp.asarray(0), train, train)
        same = jax.tree.map(lambda a, b: np.array_equal(a, b), before, state.params[name])
        assert not any(jax.tree.leaves({**same, "quantum": None}))
        moved[name] = not same["quantum"]["weights"]
    assert moved == {"frozen": False, HYBRID: True}


def test_a_seed_of_a_program_is_the_single_training(members) -> None:
    data = dataset(80)
    size = 40
    train = ablate_fashion.training_images(data, CONFIG, size)
    test = Examples(jnp.asarray(data.test_images), jnp.asarray(data.test_labels, jnp.int32))
    member = members["pixels"]
    task = ablate_fashion.task_at(CONFIG, member, size)
    found = ablate_fashion.train_twin(
        task, task, CONFIG, train, test, lambda: False, lambda *told: None
    )
    assert found.diverged == 0
    singles = []
    for seed in range(CONFIG.seeds):
        own = jax.tree.map(lambda leaf, seed=seed: leaf[seed], train)
        key = jax.random.key(seed)
        state = init_state(task, key, own.images)
        for epoch in range(CONFIG.training.epochs):
            state, _ = fit_epoch(task, state, key, jnp.asarray(epoch), own, test)
        singles.append(float(evaluate(task, state.params, test)["pixels"][1]))
    assert found.scores == pytest.approx(singles, abs=1e-6)
    assert len(set(found.scores)) == CONFIG.seeds  # of another seed it would be another score


def test_every_seed_draws_its_own_few_images() -> None:
    data = dataset(200)
    drawn = ablate_fashion.training_images(data, CONFIG, 40)
    passes = CONFIG.passes_at(40)
    assert drawn.images.shape == (3, 40 * passes, 28, 28)
    for labels in drawn.labels:
        assert np.bincount(labels).tolist() == [20 * passes] * 2
    chosen = [{image.tobytes() for image in np.asarray(images)} for images in drawn.images]
    assert [len(images) for images in chosen] == [40] * 3
    assert len(chosen[0] & chosen[1]) < 30
    everything = ablate_fashion.training_images(data, CONFIG, 200)
    assert everything.images.shape == (200, 28, 28)


@pytest.mark.parametrize(
    ("size", "batch", "passes"), [(10, 10, 6), (40, 16, 3), (200, 16, 1), (4, 4, 6)]
)
def test_few_images_get_enough_steps_and_no_batch_larger_than_they_are(
    size: int, batch: int, passes: int
) -> None:
    assert CONFIG.training_at(size).batch_size == batch
    assert CONFIG.passes_at(size) == passes
    steps = CONFIG.training.epochs * (size * passes // batch)
    assert CONFIG.least_steps <= steps


# The calculator's twins

CALCULATOR = CalculatorConfig(
    seeds=3, epochs=3, sizes=(20,), model=CalculatorModelConfig(layers=2, restarts=2)
)


def test_a_frozen_calculator_keeps_its_bits_and_its_head_trains() -> None:
    regressors = {twin.name: one for twin, one in ablate_calculator.members_of(CALCULATOR)}
    inputs = jnp.asarray(np.random.default_rng(0).uniform(size=(20, 2)), jnp.float32)
    for name, moves in (("frozen", False), (HYBRID, True)):
        before = calculator.start(regressors[name], jax.random.key(0), 2, 1.0)
        points = (inputs, inputs.sum(axis=1))
        one = jnp.asarray(1.0)
        ((after,), _) = calculator.fit_points((regressors[name],), (before,), *points, *points, one)
        assert np.array_equal(before.params[:-2], after.params[:-2]) != moves
        assert not np.array_equal(before.params[-2:], after.params[-2:])


def test_classical_calculators_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(size=(2, 5))
    regressors = {twin.name: one for twin, one in ablate_calculator.members_of(CALCULATOR)}
    layer, linear = regressors["classical"], regressors["bypass"]
    assert ablate_calculator.parameters(layer) == {"classical": 13, "quantum": 0, "frozen": 0}
    params = rng.normal(size=(13, 5))
    first, last = params[:8].reshape(2, 4, 5), params[8:12]
    hidden = np.tanh(np.einsum("idl,il->dl", first, inputs))
    np.testing.assert_allclose(
        layer(params, inputs), (last * hidden).sum(axis=0) + params[12], rtol=1e-5
    )
    params = rng.normal(size=(3, 5))
    np.testing.assert_allclose(
        linear(params, inputs), (params[:2] * inputs).sum(axis=0) + params[2], rtol=1e-5
    )
    assert ablate_calculator.parameters(regressors["frozen"])["frozen"] == 12
    assert ablate_calculator.parameters(regressors[HYBRID])["quantum"] == 12


def test_linear_regression_adds_exactly_and_does_not_multiply() -> None:
    for text, within in (("add", 1e-5), ("multiply", 0.1)):
        calculates = operation(text)
        found = ablate_calculator.train_twin(
            ablate_calculator.LinearRegressor(),
            CALCULATOR,
            calculates,
            20,
            points_to_test(0, calculates).points,
            lambda: False,
            lambda *told: None,
        )
        assert max(found.scores) < within
        assert (min(found.scores) < 1e-4) == (text == "add")


# How a study runs


def study(train, sizes=(50, 200)) -> Study:
    return Study(
        task="toy",
        about="a <toy> & its twins",
        examples="images",
        metric=ACCURACY,
        twins=TWINS,
        sizes=sizes,
        seeds=8,
        test_count=100,
        train=train,
        facts=lambda size, name: {
            "parameters": {"classical": 10, "quantum": 6 if name == HYBRID else 0},
            "batch_size": 10,
            "passes": 3,
            "steps": 30,
        },
        work=lambda size, name: float(size),
        notes=("Nothing was chosen by the test images.",),
        manifest={"versions": {"jax": jax.__version__}},
    )


def scores(size: int, name: str) -> list[float]:
    worth = {HYBRID: 0.0, "separable": 0.0, "pixels": 0.05}[name]
    return [round(0.9 - worth + 0.001 * seed + size / 1e4, 6) for seed in range(8)]


def go(folder: Path, train, **changes) -> int:
    config = dataclasses.replace(FashionConfig(), results_dir=folder, **changes)
    as_json = {"sizes": config.sizes, "seeds": config.seeds}
    return run_study(study(train), config, as_json, ())


def test_a_study_stops_when_asked_and_goes_on_where_it_stopped(tmp_path: Path, capsys) -> None:
    calls = []

    def train(size, name, stopping, tell):
        calls.append((size, name))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        tell(1, 2, 0.5)
        return None if stopping() else Trained(scores(size, name), 0, (0.1, 0.2))

    assert go(tmp_path, train) == 75
    assert "Saved 2 of 6 programs; the same command goes on from there" in capsys.readouterr().out
    folder = tmp_path / "ablate"
    assert not (folder / "summary.json").exists()
    with pytest.raises(InputError, match=r"has another configuration .*seeds: 20 there, 21 now"):
        go(tmp_path, train, seeds=21)
    assert go(tmp_path, train) == 0
    told = capsys.readouterr().out
    assert "Resuming after 2 of 6 programs." in told
    plan = [(size, twin.name) for size in (50, 200) for twin in TWINS]
    assert calls == [*plan[:3], *plan[2:]]
    assert "On this task the entangling gates made no measurable difference: +0.00" in told
    whole = json.loads((folder / "ablate.json").read_text("utf-8"))
    assert [cell["scores"] for cell in whole["cells"]] == [scores(*step) for step in plan]
    # Finished: told again, nothing trained.
    assert go(tmp_path, train) == 0
    assert len(calls) == 7
    assert "is finished" in capsys.readouterr().out
    calls[:] = calls[:2]  # so that the next call but one stops again
    assert go(tmp_path, train, resume=False) == 75
    assert not (folder / "ablate.json").exists()


def test_a_study_leaves_what_others_read(tmp_path: Path) -> None:
    def train(size, name, stopping, tell):
        return Trained(scores(size, name), int(name == "pixels"), (0.1, 0.2))

    assert go(tmp_path, train, quick=True) == 0
    folder = tmp_path / "ablate"
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    # Evaluation takes the newest run of a task: an ablation must not be taken for one.
    assert (summary["task"], summary["of"], summary["quick"]) == ("ablate", "toy", True)
    assert [(line["size"], line["twin"]) for line in summary["table"]] == [
        (size, twin.name) for size in (50, 200) for twin in TWINS
    ]
    pixels = summary["table"][2]
    assert pixels["gain"] == pytest.approx(5.0)
    assert pixels["p_corrected"] == pytest.approx(2 * 2 / 2**8)
    assert pixels["diverged"] == 1
    page = (folder / "report.html").read_text("utf-8")
    for words in (
        summary["headline"],
        "a &lt;toy&gt; &amp; its twins",
        "quick look",
        "+5.00 (+5.00 to +5.00)",
        "1 seeds diverged",
        "Nothing was chosen by the test images.",
    ):
        assert words in page
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert pictures == {"sizes.png", "differences.png"}
    assert all(f"figures/{name}" in page for name in pictures)


def test_too_few_seeds_are_said_to_be_too_few(tmp_path: Path, capsys) -> None:
    def train(size, name, stopping, tell):
        return Trained(scores(size, name)[:4], 0, (0.1, 0.2))

    config = dataclasses.replace(FashionConfig(), results_dir=tmp_path)
    few = dataclasses.replace(study(train), seeds=4)
    assert run_study(few, config, {}, ()) == 0
    assert "4 seeds are too few to tell" in (told := capsys.readouterr().out)
    assert "over 4 seeds, trained on 200 images. Too few seeds to tell." in told
    assert "takes 7 seeds" in told  # 2 twins · 2 / 2^7 < 0.05
    assert "helped" not in told


# The command


@pytest.mark.slow
def test_the_command_finds_what_is_easy_to_find(tmp_path: Path, data_dir: Path) -> None:
    flags = (
        "--quick", "--seeds", 2, "--sizes", 40, "--least-steps", 30, "--epochs", 3,
        "--model.channels", 2, "--model.hidden", 8, "--shift", 0, "--no-flip",
        "--results-dir", tmp_path, "--data-dir", data_dir,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.ablate", *map(str, flags)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "7/7" in done.stdout
    summary = json.loads((tmp_path / "ablate" / "summary.json").read_text("utf-8"))
    by_twin = {line["twin"]: line for line in summary["table"]}
    assert list(by_twin) == [
        HYBRID, "separable", "frozen", "classical", "bypass", "network", "pixels",
    ]  # fmt: skip
    for line in by_twin.values():
        assert 0.5 < line["mean"] <= 1
    assert by_twin["pixels"]["mean"] > 0.9
    assert by_twin["pixels"]["parameters"] == {"classical": 785, "quantum": 0, "frozen": 0}
    assert by_twin["frozen"]["parameters"]["frozen"] == 6
    assert by_twin[HYBRID]["parameters"]["quantum"] == 6
    assert "2 seeds are too few to tell" in done.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--sizes", "51"), "`--sizes` must hold multiples of 2, .* but has '51'"),
        (("--sizes", "0"), "`--sizes` must hold multiples of 2"),
        (("--sizes", "13000"), "of at most 12000, or \"all\", but has '13000'"),
        (("--sizes", "many"), "but has 'many'"),
        (("--sizes", "all", "12000"), "one or more different sizes"),
        (("--sizes",), "one or more different sizes"),
        (("--seeds", "1"), "`--seeds` must be between 2, for an interval, and 100"),
        (("--seeds", "101"), "`--seeds` must be between 2"),
        (("--seed", "-1"), "`--seed` must be an integer between 0 and 4294967295"),
        (("--least-steps", "0"), "`--least-steps` must be at least 1"),
        (("--epochs", "0"), "`--epochs` must be at least 1 here"),
        (("--batch-size", "20000"), "`--batch-size` must be between 1 and 12000"),
        (("--run", "a/b"), "`--run` must be"),
        (("--classes", "all", "--loss", "mse"), "`--loss` must be cross-entropy"),
        (("--task", "calculator", "--sizes", "1"), "`--sizes` must hold numbers between 2 and"),
        (("--task=calculator", "--operation", "spell"), "`--operation`"),
        (("--task", "calculator", "--model.restarts", "0"), "`--model.restarts` must be between"),
        (("--model.num-qubits", "1"), "`num_qubits` must be an integer of at least 2"),
    ],
)
def test_bad_flags_are_one_sentence(flags, words: str) -> None:
    with pytest.raises(InputError, match=words):
        main(list(flags))


def test_bad_flags_are_answered_before_jax_loads() -> None:
    code = (
        "import sys\nfrom pipelines.ablate import main\n"
        "try: main(['--seeds', '1'])\nexcept ValueError: pass\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'jax', 'flax', 'qiskit', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)


def test_quick_is_less_of_everything() -> None:
    for task in ("fashion", "calculator"):
        default, quick = defaults(["--task", task]), defaults([f"--task={task}", "--quick"])
        assert (default.task, quick.task) == (task, task)
        assert (default.quick, quick.quick) == (False, True)
        assert quick.seeds < default.seeds
        assert len(quick.sizes) < len(default.sizes)
    assert defaults([]).training.epochs > defaults(["--quick"]).training.epochs
    assert check_fashion(defaults([])) == (0, 1)
