"""The circuit's effect on the score: the model and its twins over random seeds and training sizes.

    make ablate
    make ablate ARGS="--quick"
    make ablate ARGS="--seeds 40 --sizes all --run long"
    make ablate ARGS="--task calculator"
    make ablate ARGS="--twins noise --executor noisy --noise FakeFez --shots 1024 --sizes 1000"
    make ablate ARGS="--task noise-study"        # where noise matters: see its --help

The model and all its twins train on the same data, batches and seeds with the same optimiser. All
seeds of a twin run in one program. On Fashion-MNIST 20 seeds, seven networks and four sizes take
about 20 minutes on two idle cores.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from pipelines import command, noise_study, training
from pipelines.flags import DEFAULT_TASK, DataFlags, ResultsFlags, TaskFlag, chosen_task, words_of
from pipelines.noise_study import NOISE_STUDY
from qnn_jax.errors import InputError
from qnn_jax.runs import GracefulStop, RunDirectory, check_name, read_as
from qnn_jax.studies.ablation_table import check_ablation, text_of
from qnn_jax.studies.noise_twins import NoiseTwins, OnAer
from qnn_jax.tasks.stored import NOT_OF_THE_RUN, RESTORE
from qnn_jax.tasks.table import effort


@dataclasses.dataclass(frozen=True)
class AblateFlags(DataFlags, ResultsFlags, TaskFlag):
    """Flags of this command in addition to the task's own fields."""

    run: str = "ablate"
    """Name of the run; its files go to RESULTS_DIR/RUN."""
    quick: bool = False
    """A quick look in minutes: fewer seeds, sizes and epochs; the result is marked as such."""
    seed: int = 0
    """The first seed; the others follow it."""
    seeds: int = 20
    """Number of seeds; each determines initial parameters, order and selection of examples."""
    sizes: tuple[str, ...] = ("all",)
    """Numbers of training examples; "all" takes all."""
    twins: Literal["model", "noise"] = "model"
    """Networks without a part of the model, or "noise": the same network trained without the errors
    or shots of --executor; all of them are scored on Aer with these."""
    images: int | None = None
    """Most test examples that Aer scores, drawn at random, by default 500; for --twins noise."""
    resume: bool = True
    """Resume an interrupted run of this name; --no-resume starts over."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The sizes as numbers; 0 is all."""
        for size in self.sizes:
            if size != "all" and not (size.isdecimal() and int(size)):
                raise InputError(
                    'Argument `sizes` must hold integers of at least 1, or "all", but has '
                    f"{size!r}."
                )
        return tuple(0 if size == "all" else int(size) for size in self.sizes)


class _Line(TypedDict):
    # JSON has null for the mean if a seed diverged.
    size: int
    twin: str
    mean: float | None
    interval: tuple[float | None, float | None]
    gain: float | None
    gain_interval: tuple[float | None, float | None]
    p_corrected: float
    seconds: float


class _Seconds(TypedDict):
    compile: float
    training: float


class _Told(TypedDict):
    """The fields of summary.json that are printed for a finished ablation."""

    quick: bool
    headline: str
    verdicts: list[str]
    table: list[_Line]
    seconds: _Seconds


def parse(argv: list[str] | None) -> tuple[Any, AblateFlags]:
    """Read a command line; the defaults depend on the task, and on whether the look is quick."""
    arguments = sys.argv[1:] if argv is None else argv
    name = chosen_task(arguments, NOISE_STUDY)
    start = effort(name, "--quick" in arguments)
    flags = AblateFlags(
        task=name,
        run="ablate" if name == DEFAULT_TASK else f"ablate-{name}",
        seeds=start.seeds,
        sizes=tuple(str(size) if size else "all" for size in start.sizes),
    )
    return training.parse({"default": start.task}, flags, argv)


def main(argv: list[str] | None = None) -> int:
    """Parse, check, train, report; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if chosen_task(arguments, NOISE_STUDY) == NOISE_STUDY:
        return noise_study.main(arguments)
    task, flags = parse(argv)
    check_name(flags.run)
    if flags.twins == "noise":
        task = NoiseTwins(task, *(() if flags.images is None else (flags.images,)))
    elif flags.images is not None:
        raise InputError(
            "Argument `images` must be left out where `twins` is model, but is "
            f"{flags.images}; it is for twins of noise, which Aer scores."
        )
    command.check_seed("--seed", flags.seed, max(1, flags.seeds))
    sizes = check_ablation(task, flags.numbers, flags.seeds, flags.seed)
    command.start_jax()
    from qnn_jax.data import progress_bar
    from qnn_jax.report.ablation import write_ablation
    from qnn_jax.runs.loop import StoppedError
    from qnn_jax.studies.ablation import ablate

    asked = {
        k: v for k, v in dataclasses.asdict(flags).items() if k not in ("resume", "results_dir")
    }
    config = {**asked, "sizes": sizes, "fields": dataclasses.asdict(task)}
    with RunDirectory.open(
        flags.results_dir, flags.run, config, flags.resume, NOT_OF_THE_RUN
    ) as run:
        if run.finished:
            command.tell_finished(run.path)
            told = read_as(run.path / "summary.json", _Told, RESTORE)
            assert told is not None
            conclude(task, flags, told)
            return 0
        with GracefulStop(notify=command.tell_stopping) as stop, progress_bar() as progress:
            try:
                found = ablate(
                    task,
                    sizes=sizes,
                    seeds=flags.seeds,
                    first_seed=flags.seed,
                    folders=flags.folders,
                    run=run,
                    quick=flags.quick,
                    tell=command.say,
                    stop=lambda: stop.requested,
                    report=progress,
                    publish=lambda found: write_ablation(run.path, found),
                    scorer=OnAer(task) if flags.twins == "noise" else None,
                )
            except StoppedError as saved:
                command.tell_saved(f"{saved} programs")
                return stop.exit_code
        conclude(task, flags, found.summary)
    return 0


def conclude(task: Any, flags: AblateFlags, summary: Mapping[str, Any]) -> None:
    """Print the table, its conclusions, and the next command."""
    print(f"\n{text_of(summary, task.metric)}")
    page = flags.results_dir / flags.run / "report.html"
    print(f"{sum(summary['seconds'].values()):.1f} s in all; open {page}")
    words = [] if flags.task == DEFAULT_TASK else ["--task", flags.task]
    if flags.twins == "noise":
        task = task.task
        words += ["--twins", "noise"]
    words += [*command.same_folders(flags), *words_of(task, effort(flags.task, True).task)]
    print(
        f"Next: {command.make('ablate', words)}, for the full ablation"
        if summary["quick"]
        else 'Next: make ablate ARGS="--help", for all flags'
    )


if __name__ == "__main__":
    command.run(
        main, "Stopped. Every finished program is saved; this continues from there:\n  {again}"
    )
