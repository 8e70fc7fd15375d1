"""`make ablate ARGS="--task noise-study"` and `--twins noise`: flags, resuming, and the results."""

import json
import os
import signal
from pathlib import Path

import pytest

from pipelines import ablate, command, noise_study
from qnn_jax.configs import ExecutionConfig, TrainingConfig
from qnn_jax.errors import InputError
from qnn_jax.studies.noise_study import Part, shot_floor
from qnn_jax.studies.noise_twins import NoiseTwins
from qnn_jax.tasks.sine import Sine
from qnn_jax.training.task import HYBRID

TRAINING = TrainingConfig(
    epochs=1, batch_size=8, learning_rate=0.05, weight_decay=0.0, shift=0, flip=False
)
SINE = Sine(16, 20, 1, training=TRAINING, execution=ExecutionConfig("sampled", 32))
PART = Part("regression-shots", "regression", NoiseTwins(SINE, 20), 16, None)


@pytest.mark.slow
def test_a_stopped_study_goes_on_where_it_was(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_study, "parts", lambda config: (PART,))
    flags = ["--task", "noise-study", "--seeds", "2", "--only", "regression", "--results-dir"]
    with monkeypatch.context() as patched:
        stop = lambda line: os.kill(os.getpid(), signal.SIGTERM) if "1/3" in line else None  # noqa: E731
        patched.setattr(command, "say", stop)
        assert ablate.main([*flags, str(tmp_path)]) == 75
    assert "Saved 1 of 3 programs; the same command continues" in capsys.readouterr().out
    assert ablate.main([*flags, str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "1/3" not in told
    found = json.loads((tmp_path / "noise-study/noise.json").read_text("utf-8"))
    assert [row["twin"] for row in found["rows"]] == [HYBRID, "blind", "ideal"]
    assert found["tests"] == 2
    targets = PART.twins.load(None, 0, None).test.targets
    assert found["floors"] == {"regression-shots": pytest.approx(shot_floor(targets, 32))}
    assert ablate.main([*flags, str(tmp_path)]) == 0
    assert "regression-shots is finished" in capsys.readouterr().out


def test_kernels_alone_need_no_training(tmp_path: Path, capsys) -> None:
    flags = ["--task=noise-study", "--seeds", "2", "--only", "kernel", "--results-dir"]
    assert ablate.main([*flags, str(tmp_path)]) == 0
    found = json.loads((tmp_path / "noise-study/noise.json").read_text("utf-8"))
    assert [row["shots"] for row in found["kernel"]] == [0, 16, 64, 256, 1024, 4096]
    assert found["rows"] == []
    assert "exact shots: accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--images", "5"], r"`images` must be left out where `twins` is model, but is 5"),
        (["--twins", "noise"], r"`executor` must be noisy or sampled for twins of the training"),
        (["--task", "nothing"], r"must be one of 'fashion', .*'noise-study', but is 'nothing'"),
        (["--task", "noise-study", "--devices", "FakeFezz"], "did you mean FakeFez"),
        (["--task", "noise-study", "--seeds", "1"], r"`seeds` must be between 2"),
        (["--task", "noise-study", "--run", "a/b"], r"`run` must"),
    ],
)
def test_bad_flags_are_one_sentence(flags: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        ablate.main([*flags, "--results-dir", str(tmp_path)])
