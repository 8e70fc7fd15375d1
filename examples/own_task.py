"""Your own task: train, save, load in another process, run on noisy Aer, scan two values."""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from qnn_jax import bridge, data_reuploading
from qnn_jax.configs import LeastSquaresConfig
from qnn_jax.models import HybridRegressor
from qnn_jax.studies.scan import scan
from qnn_jax.tasks import TaskDefaults, load, splits_of, train
from qnn_jax.training import MEAN_L1


@dataclass(frozen=True)
class Sine(TaskDefaults):
    training: LeastSquaresConfig = LeastSquaresConfig(epochs=5, batch_size=0, restarts=8)
    name, metric = "my_sine", MEAN_L1

    def load(self, folders, seed, report):
        points = np.random.default_rng(0).uniform(-1, 1, (300, 1))
        return splits_of(points, np.sin(3 * points[:, 0]), seed, "a sine")

    def network(self):
        return HybridRegressor(data_reuploading(1, 1, reps=3), ("Z",))


def noisy(path):
    trained = load(path, task=Sine)
    test = trained.splits().test
    predicted = trained.predict(test.inputs, bridge.aer(1024, "FakeFez", seed=0))
    return trained.summary["test_mean_l1"], np.abs(predicted - test.targets).mean()


if __name__ == "__main__":
    train(Sine()).save(sys.argv[1])
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        print("mean L1, exact and on noisy Aer:", *elsewhere.submit(noisy, sys.argv[1]).result())
    print(scan(Sine(), {"training.learning_rate": (0.5, 1.0)}, confirm=0).verdict)
