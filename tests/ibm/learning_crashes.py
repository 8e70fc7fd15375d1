"""Commands of learned devices that crash: `python learning_crashes.py RESULTS COMMAND [careless]`.

The command is killed by SIGKILL at the end of every step of ledger and submission in turn, and runs
again. The last line of the output is JSON: how often it was run to its end.
"""

import functools
import json
import sys
from pathlib import Path

from job_crashes import FastClock, in_child

# Before the forks, so that not every child imports them.
import qnn_jax.hardware.learning
import qnn_jax.report.hardware
import qnn_jax.studies.hardware
import qnn_jax.tasks.fit  # noqa: F401
from pipelines import eval_hardware, learn_device, tune
from qnn_jax.hardware import submission
from qnn_jax.hardware.submission import Clock

#: Jobs of `make tune --on-device`, and the commands that have to run before each.
MAX_JOBS = 2
NEEDED = {"learn": (), "update": ("learn",), "tune": ("learn",), "evaluate": ("learn", "tune")}


def commands(results, clock):
    """By name, the command as a function of a number that makes its jobs different."""
    where = {"run": "adding", "results_dir": results, "backend": "ibm_fez"}
    learning = learn_device.LearnConfig(**where, settings=64, shots=1024, budget_seconds=20)

    def learn(number, **more):
        changed = {**vars(learning), "repetition": number, **more}
        learn_device.learn(learn_device.LearnConfig(**changed), clock)

    def on_device(number):
        config = tune.TuneConfig(
            **where, seed=number, on_device=True, max_jobs=MAX_JOBS, batch_size=2, shots=64,
            budget_seconds=20,
        )  # fmt: skip
        tune.tune(config, clock)

    def evaluate(number):
        config = eval_hardware.HardwareConfig(
            **where, seed=number, images=4, shots=64, anchors=3, budget_seconds=20
        )
        eval_hardware.evaluate(config, clock)

    return {
        "learn": learn,
        "update": lambda number: learn(number, update=True, settings=16, shots=64),
        "tune": on_device,
        "evaluate": evaluate,
    }


def die_everywhere(results, name):
    """How often the command was run to its end, after those that it needs."""

    def action(command, number):
        clock = FastClock()
        commands(results, Clock(clock.now, clock.sleep))[command](number)

    for earlier in NEEDED[name]:
        in_child(functools.partial(action, earlier, 0), "ends")
    number, died = 0, True
    while died:
        number += 1
        died = in_child(functools.partial(action, name, number), "ends", at=number)
        if died:
            in_child(functools.partial(action, name, number), "ends")
    return number


if __name__ == "__main__":
    if "careless" in sys.argv:
        submission._Work.jobs = lambda *_: []
    print(json.dumps(die_everywhere(Path(sys.argv[1]), sys.argv[2])))
