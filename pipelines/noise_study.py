"""Where do shots and a device's errors matter, and what does training with them buy?

    make ablate ARGS="--task noise-study"
    make ablate ARGS="--task noise-study --seeds 5 --devices FakeYorktownV2 --depths 2 4"

Each part is an ablation in a folder of its own, so that a killed study goes on after its last
finished program, and a larger one with the same settings trains only what is new. All parts are
scored by Aer on the transpiled circuit. The full study takes hours.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from pipelines import command
from pipelines.flags import DataFlags, ResultsFlags
from qnn_jax.data.source import silent
from qnn_jax.runs import GracefulStop, RunDirectory, check_name, read_as, write_json_atomic
from qnn_jax.studies.ablation_table import check_ablation
from qnn_jax.studies.noise_study import NoiseStudyConfig, Part, parts
from qnn_jax.tasks.stored import RESTORE
from qnn_jax.training.task import Folders

NOISE_STUDY: Literal["noise-study"] = "noise-study"
_KERNEL_SHOTS = (16, 64, 256, 1024, 4096)


class _Line(TypedDict):
    twin: str
    mean: float | None
    interval: tuple[float | None, float | None]
    gain: float | None
    gain_interval: tuple[float | None, float | None]
    p: float | None


class _Told(TypedDict):
    """The fields of a finished part's summary.json that the study's table holds."""

    metric: str
    seeds: int
    table: list[_Line]


@dataclasses.dataclass(frozen=True)
class NoiseStudyFlags(DataFlags, ResultsFlags, NoiseStudyConfig):
    """Where do shots and a device's errors matter, and what does training with them buy?"""

    task: Literal["noise-study"] = NOISE_STUDY
    """This study."""
    run: str = NOISE_STUDY
    """Name of the study; its parts go to RESULTS_DIR/RUN/PART, all results to noise.json there."""
    seed: int = 0
    """The first seed; the others follow it."""
    seeds: int = 20
    """Number of seeds of each part."""
    only: tuple[Literal["hybrid", "circuit", "regression", "calculator", "kernel"], ...] = (
        "hybrid",
        "circuit",
        "regression",
        "calculator",
        "kernel",
    )
    """Which settings; the others are left out."""
    resume: bool = True
    """Resume interrupted parts; --no-resume starts over."""


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train, print; the exit status."""
    flags = command.read(NoiseStudyFlags, argv)
    check_name(flags.run)
    command.check_seed("--seed", flags.seed, max(1, flags.seeds))
    wanted = [part for part in parts(flags) if part.setting in flags.only]
    for part in wanted:
        check_ablation(part.twins, (part.size,), flags.seeds, flags.seed)
    command.start_jax()
    from qnn_jax.runs.loop import StoppedError
    from qnn_jax.studies.noise_study import kernel_with_shots, shot_floor, text_of, together

    folder = flags.results_dir / flags.run
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with GracefulStop(notify=command.tell_stopping) as stop:
        for part in wanted:
            command.say(f"\n{part.name}")
            try:
                found.append((part, _summary(part, flags, stop)))
            except StoppedError as saved:
                command.tell_saved(f"{saved} programs")
                return stop.exit_code
    study = together(found)
    study["floors"] = {
        part.name: shot_floor(
            part.twins.sized(part.size).load(Folders(), flags.seed, silent).test.targets,
            part.twins.shots,
        )
        for part in wanted
        if not part.twins.metric.classes
    }
    if "kernel" in flags.only:
        study["kernel"] = kernel_with_shots(_KERNEL_SHOTS, flags.seeds, flags.seed)
    study["config"] = {
        name: getattr(flags, name)
        for name in (*(f.name for f in dataclasses.fields(NoiseStudyConfig)), "seed", "seeds")
    }
    path = folder / "noise.json"
    write_json_atomic(path, study)
    print(f"\n{text_of(study)}\nWritten to {path}")
    return 0


def _summary(part: Part, flags: NoiseStudyFlags, stop: GracefulStop) -> Mapping[str, Any]:
    """The summary of a part, which is trained unless it is finished."""
    from qnn_jax.report.ablation import write_ablation
    from qnn_jax.studies.ablation import ablate
    from qnn_jax.studies.noise_twins import OnAer

    config = {
        "run": part.name,
        "seed": flags.seed,
        "seeds": flags.seeds,
        "size": part.size,
        "fields": dataclasses.asdict(part.twins),
    }
    folder = flags.results_dir / flags.run
    with contextlib.closing(RunDirectory.open(folder, part.name, config, flags.resume)) as run:
        if run.finished:
            command.say(f"{run.path} is finished.")
            told = read_as(run.path / "summary.json", _Told, RESTORE)
            assert told is not None
            return told
        found = ablate(
            part.twins,
            sizes=(part.size,),
            seeds=flags.seeds,
            first_seed=flags.seed,
            folders=flags.folders,
            run=run,
            tell=command.say,
            stop=lambda: stop.requested,
            publish=lambda found: write_ablation(run.path, found),
            scorer=OnAer(part.twins),
        )
        return found.summary
