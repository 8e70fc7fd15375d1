"""`make ablate`: its flags, its output, and the output for a finished run."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from as_programs import REPOSITORY, check_bad_flags

from pipelines import ablate, command
from pipelines.ablate import main, parse
from qnn_jax.errors import InputError
from qnn_jax.runs import from_json
from qnn_jax.studies.ablation_table import check_ablation
from qnn_jax.tasks.fashion import _images
from qnn_jax.training.task import HYBRID

REFERENCE = REPOSITORY / "results/reference/ablate/summary.json"


def test_the_command_stops_resumes_and_prints_the_result_again(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (
        "--task", "calculator", "--quick", "--seeds", 2, "--sizes", 10, "--epochs", 1,
        "--restarts", 2, "--model.layers", 1, "--results-dir", tmp_path,
    )  # fmt: skip
    arguments = list(map(str, flags))
    with monkeypatch.context() as patched:
        # SIGTERM arrives with the line of the first program.
        stop = lambda line: os.kill(os.getpid(), signal.SIGTERM) if "1/6" in line else None  # noqa: E731
        patched.setattr(command, "say", stop)
        assert main(arguments) == 75
    assert "Saved 1 of 6 programs; the same command continues" in capsys.readouterr().out
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "6/6" in told
    assert "1/6" not in told
    assert "2 seeds are too few to tell" in told
    assert (
        "A quick look, with few seeds, sizes and steps. On this task the entangling gates" in told
    )
    again = re.search(r"Next: make ablate ARGS='(.*)', for the full ablation", told)[1]
    # The flags of this look, but those that make it quick.
    assert (
        again
        == f"--task calculator --results-dir {tmp_path} --model.layers 1 --epochs 1 --restarts 2"
    )
    summary = json.loads((tmp_path / "ablate-calculator/summary.json").read_text("utf-8"))
    by_twin = {line["twin"]: line for line in summary["table"]}
    assert list(by_twin) == [
        HYBRID, "separable", "frozen", "classical", "bypass", "mlp_equal_size",
    ]  # fmt: skip
    assert by_twin["bypass"]["mean"] < 1e-5  # linear regression adds exactly
    assert by_twin["frozen"]["mean"] > 1e-2  # the initial circuit does not add
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert "is finished" in again
    table = told[told.index("   size twin") :]
    assert again.endswith(table)
    with pytest.raises(InputError, match=r"another configuration .*sizes"):
        main([*arguments, "--sizes", "20"])


@pytest.mark.slow
def test_the_command_finds_what_is_easy_to_find(tmp_path: Path, data_dir: Path, capsys) -> None:
    flags = (
        "--quick", "--seeds", 2, "--sizes", 40, "--epochs", 3, "--model.channels", 2,
        "--model.hidden", 8, "--shift", 0, "--no-flip", "--results-dir", tmp_path,
        "--data-dir", data_dir,
    )  # fmt: skip
    _images.cache_clear()
    assert main(list(map(str, flags))) == 0
    assert _images.cache_info().misses == 1  # from disk once, not for each seed
    assert "7/7" in capsys.readouterr().out
    summary = json.loads((tmp_path / "ablate" / "summary.json").read_text("utf-8"))
    by_twin = {line["twin"]: line for line in summary["table"]}
    assert list(by_twin) == [
        HYBRID, "separable", "frozen", "classical", "bypass", "network", "pixels",
    ]  # fmt: skip
    for line in by_twin.values():
        assert 0.5 < line["mean"] <= 1
        assert line["steps"] >= 500
    assert by_twin["pixels"]["mean"] > 0.9
    assert by_twin["pixels"]["parameters"] == {"classical": 785, "quantum": 0, "frozen": 0}
    assert by_twin["frozen"]["parameters"]["frozen"] == 6
    assert by_twin[HYBRID]["parameters"]["quantum"] == 6


def test_bad_flags_are_answered_before_jax_loads(tmp_path: Path) -> None:
    bad = [
        (
            ("--sizes", "many"),
            "`--sizes` must hold integers of at least 1, or \"all\", but has 'many'",
        ),
        (("--sizes", 0), "`--sizes` must hold integers of at least 1"),
        (("--sizes", 51), "`--sizes` must hold numbers of examples"),
        (("--sizes",), "`--sizes` must hold one or more different"),
        (("--seeds", 1), "`--seeds` must be between 2, for an interval, and 100"),
        (("--seed", 4294967290), "`--seed` must leave room for 19 seeds"),
        (("--run", "a/b"), "`--run` must be"),
        (("--classes", "all", "--loss", "mse"), "`--loss` must be cross-entropy"),
        (("--train-images", 100), "`--train-images` must be left out"),
        (("--task", "calculator", "--sizes", "all"), "has all"),
        (("--task=calculator", "--points", 700), "`--points` must be left out"),
        (("--task", "spelling"), "`--task` must be one of 'fashion', "),
    ]
    check_bad_flags("ablate", bad, tmp_path)


def test_quick_is_less_of_everything() -> None:
    for name in ("fashion", "calculator"):
        (task, flags), (quick_task, quick) = (
            parse(["--task", name]),
            parse([f"--task={name}", "--quick"]),
        )
        assert (flags.task, quick.task) == (name, name)
        assert (flags.quick, quick.quick) == (False, True)
        assert quick.seeds < flags.seeds
        assert len(quick.sizes) < len(flags.sizes)
        assert quick_task.training.epochs < task.training.epochs
        # Defaults must pass the checks of flags.
        for one, of in ((task, flags), (quick_task, quick)):
            check_ablation(one, of.numbers, of.seeds, of.seed)


def test_the_summary_of_a_finished_run_is_checked() -> None:
    summary = json.loads(REFERENCE.read_text())
    assert set(from_json(ablate._Told, summary, "File f", "mend it")) == set(summary)
    for field in ablate._Told.__annotations__:
        lost = {key: value for key, value in summary.items() if key != field}
        with pytest.raises(InputError, match=f"^File f lacks the field `{field}`: mend it"):
            from_json(ablate._Told, lost, "File f", "mend it")
