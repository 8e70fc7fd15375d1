"""Trained models of the reference runs, without training them again."""

from pathlib import Path

from flax.traverse_util import unflatten_dict

from qnn_jax.runs import read_npz
from qnn_jax.tasks import Calculator, Fashion, Trained

_REFERENCE = Path(__file__).parents[1] / "results/reference"


def fashion() -> Trained:
    return Trained(Fashion(), _params("fashion"))


def calculator() -> Trained:
    return Trained(Calculator(baseline_2022=0), _params("calculator"))


def _params(name: str) -> dict:
    arrays = read_npz(_REFERENCE / name / "weights.npz") or {}
    return unflatten_dict({tuple(path.split("/")): array for path, array in arrays.items()})
