"""The table of the public API: a small valid call of every callable, and what its arguments accept.

A new name in an `__all__` must be added here, or to `NO_CALLS` with the reason.
"""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import wrong_values as k
from flax import nnx
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from wrong_values import (
    CIRCUIT,
    FLAG,
    FUNCTION,
    KEY,
    OBSERVABLES,
    TEXT,
    Kind,
    array,
    choice,
    integer,
    only,
    optional,
    real,
)

import qnn_jax
from qnn_jax import (
    Circuit,
    Op,
    PauliSum,
    bridge,
    data,
    diagnostics,
    executors,
    hardware,
    initializers,
    linen,
    models,
    noise,
    runs,
    simulate,
    stats,
    tasks,
    training,
)
from qnn_jax import circuits as of_circuits
from qnn_jax import nnx as our_nnx
from qnn_jax.circuits import angles, library
from qnn_jax.configs import LeastSquaresConfig, TrainingConfig


@dataclass(frozen=True)
class Make:
    """A valid value that is created for each call."""

    value: Callable[[], Any]


@dataclass(frozen=True)
class Call:
    """A callable and its arguments by name: a valid value, and the rule for legal ones."""

    function: Callable[..., Any]
    arguments: Mapping[str, tuple[Any, Kind]]


def rate(kind: Kind) -> Kind:
    """The same, or a traced number."""
    return Kind(lambda v: None if isinstance(v, jax.core.Tracer) else kind.legal(v))


#: What is a mapping or an array of the right kind only by chance.
RARE = Kind(lambda value: None)
DAMPED = noise.amplitude_damping(0.25)
COIN = (noise.Experiment(Circuit(1, ()), (0,), np.zeros((4, 0)), np.full((4, 2), 5)),)
#: One circuit for all, so that JAX compiles little.
ONE = Circuit(
    2,
    (
        Op("ry", 0, angles.x[0]),
        Op("ry", 1, angles.x[1] + angles.w[0]),
        Op("cx", (0, 1)),
        Op("ry", 0, angles.w[1]),
    ),
)
KEY_0 = jax.random.key(0)
X, W = np.array([0.5, 0.25]), np.array([0.75, -0.5])
ROWS = np.array([[0.5, 0.25], [0.125, 0.75], [0.0, 1.0], [0.5, 1.0]])
TARGETS = np.array([1.0, -1.0, 1.0, 0.5])
BELL = np.array([1.0, 0, 0, 1]) / math.sqrt(2)
STATE = np.array([0.6, 0, 0.8, 0])

FOLDER = Path(tempfile.mkdtemp())
runs.write_npz_atomic(FOLDER / "a.npz", {})


def _state(value: Any) -> bool | None:
    """Amplitudes: real or complex numbers whose squares sum to 1."""
    if isinstance(value, np.ma.MaskedArray):
        return False
    try:
        found = np.asarray(value)
    except Exception:
        return None if isinstance(value, jax.core.Tracer) else False
    if found.dtype.kind not in "fciu" or found.ndim != 1 or len(found) < 2:
        return False
    return None if len(found) & (len(found) - 1) == 0 else False


STATE_KIND = Kind(_state, k.array_forms)
ONE_OF_NAMES = Kind(
    lambda v: None if isinstance(v, list | tuple | range | np.ndarray | jax.Array) else False
)


def _row(value: Any) -> bool | None:
    """A row of real numbers, which may be NaN or infinite."""
    usual = isinstance(value, np.ndarray | jax.Array) and not isinstance(value, np.ma.MaskedArray)
    if usual and value.ndim == 1 and jnp.issubdtype(value.dtype, jnp.floating):
        return None
    if isinstance(value, list) and value and all(type(entry) is float for entry in value):
        return None
    return array(None).legal(value)


def _row_of_two(value: Any) -> bool | None:
    return None if _row(value) else _row(value)  # the other row decides on the length


def _probabilities(value: Any) -> bool | None:
    found = array(None, low=0).legal(value)
    return None if found else found  # numbers above 1 are refused


ROW, ROW_OF_TWO = Kind(_row, k.array_forms), Kind(_row_of_two, k.array_forms)
BOUND = Kind(lambda v: None if isinstance(v, jax.core.Tracer) else real(0, math.inf).legal(v))
ANY_TABLE = Kind(lambda v: None if array(None, None).legal(v) else False, k.array_forms)
PROBABILITIES = Kind(_probabilities, k.array_forms)
ENTANGLEMENT = Kind(
    lambda v: (
        None
        if isinstance(v, str | list | tuple | dict | range | np.ndarray | jax.Array) or callable(v)
        else False
    )
)
BLOCKS = Kind(
    lambda v: (
        None
        if isinstance(v, str | Circuit | list | tuple | range | np.ndarray | jax.Array)
        else False
    )
)
ANGLE = Kind(
    lambda v: True if isinstance(v, angles.Expression) else k.real(-math.inf, math.inf).legal(v),
    lambda v: (np.float64(v), np.float32(v)),
    names=("angle", "angles"),
)
ANGLE_LIKE = Kind(
    lambda v: None if k.shape_of(v) is not None or isinstance(v, list | tuple) else ANGLE.legal(v),
    names=("angle", "angles"),
)
QUBITS = Kind(
    lambda v: (
        None if k.is_integer(v) or isinstance(v, list | tuple | range | np.ndarray) else False
    ),
    lambda v: (
        ([np.int64(q) for q in v], list(v), np.array(v), np.array(v, ">i8"))
        if isinstance(v, tuple)
        else ()
    ),
)


def size(least: int) -> Kind:
    """A number that determines the circuit's number of gates, which is limited."""
    return k.called(integer(least), "ops")


SEED = {"seed": (0, integer(0, 2**32 - 1))}
SKIPS = {"skip_unentangled_qubits": (False, FLAG), "skip_final_rotation_layer": (False, FLAG)}
VECTORS = {"inputs": (X, array(2)), "weights": (W, array(2))}
ON_ONE = {"circuit": (ONE, CIRCUIT), **VECTORS}
MEASURED = {"circuit": (ONE, CIRCUIT), "observables": (("ZZ",), OBSERVABLES), **VECTORS}
FEATURE_MAP = {
    "num_qubits": (2, size(1)),
    "reps": (1, size(1)),
    "entanglement": ("full", ENTANGLEMENT),
    "alpha": (2.0, real(-math.inf, math.inf)),
    "data_map_func": (None, optional(FUNCTION)),
}
LAYERED = {"entanglement": ("full", ENTANGLEMENT), "reps": (1, size(0)), **SKIPS}
SAMPLES = {"inputs": (ROWS, array(None, 2, empty=False))}
BATCH = (ROWS.astype(np.float32), array(None, 2))
EXECUTED = {
    "circuit": (ONE, CIRCUIT),
    "observables": ((PauliSum((("ZZ", 1.0),)),), OBSERVABLES),
    "inputs": BATCH,
    "weights": (W, array(2)),
}
COUNTS = np.array([[30.0, 10, 5, 19], [1, 2, 3, 4]])


def _counts(value: Any) -> bool | None:
    """Non-negative numbers with a positive one in each row."""
    found = array(None, 4, low=0).legal(value)
    return found and (None if not np.asarray(value).sum() else found)


COUNTS_KIND = Kind(_counts, k.array_forms)
MEAN = np.array([[0.5], [0.25], [-0.5], [-0.75]])
ESTIMATE = executors.Estimate(0.75 * MEAN + 0.125, np.full((4, 1), 0.0625))


def _shots(value: Any) -> bool | None:
    """Numbers above 0, one or one a row."""
    if k.is_real(value):
        return None if value > 0 else False
    fits = k.shape_of(value) in ((), (2,)) and not isinstance(value, jax.core.Tracer)
    return None if fits and (np.asarray(value) > 0).all() else False


def layer(kind: str) -> Callable[..., Any]:
    """A layer of one of the two Flax interfaces, constructed and applied."""

    def linen_layer(inputs: Any, weights: Any = None, **made: Any) -> Any:
        made = {"circuit": ONE, "observables": ("ZZ",), **made}
        found = linen.QuantumLayer(**made)
        if weights is None:
            weights = found.init(KEY_0, ROWS)["params"]["weights"]
        return found.apply({"params": {"weights": weights}}, inputs)

    def nnx_layer(inputs: Any, rngs: Any = None, **made: Any) -> Any:
        made = {"circuit": ONE, "observables": ("ZZ",), "rngs": nnx.Rngs(0), **made}
        return our_nnx.QuantumLayer(**made)(inputs, rngs)

    return linen_layer if kind == "linen" else nnx_layer


def _features(value: Any) -> bool | None:
    """Layers take features with any number of axes in front."""
    return None if (k.shape_of(value) or (0,))[-1] == 2 else False


#: A mesh of the table's circuits has one device only, which no wrong value is.
MESH = {"mesh": (None, optional(Kind(lambda v: False)))}

LAYER = {
    **MESH,
    "circuit": (ONE, CIRCUIT),
    "observables": (("ZZ",), OBSERVABLES),
    "executor": (executors.exact, FUNCTION),
    "weight_init": (lambda key, shape, dtype=None: jnp.full(shape, 0.5), optional(FUNCTION)),
    "inputs": (BATCH[0], Kind(_features)),
}

CONFIG = models.ModelConfig(channels=(), hidden=(3,))
IMAGES = np.arange(6 * 28 * 28, dtype=np.int64).reshape(6, 28, 28).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1, 0])
EXAMPLES = training.Examples(jnp.asarray(IMAGES), jnp.asarray(LABELS))
TRAINING = TrainingConfig(epochs=1, batch_size=3, shift=0, flip=False)
MEMBER = models.PixelRegression(2)
TASK, NAMES = tasks.Fashion(model=CONFIG, training=TRAINING), ("pixels",)


@functools.cache
def state() -> Any:
    return training.init_state(TASK, NAMES, KEY_0, EXAMPLES.inputs)


def fresh(value: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), value)


def population() -> Any:
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state())


def _images(value: Any) -> bool | None:
    """Pixels, or floating-point features."""
    shape = k.shape_of(value)
    if shape is None or len(shape) < 2:
        return False
    dtype = getattr(value, "dtype", float)
    if dtype == np.uint8:
        return None if len(shape) > 2 else False
    return None if jnp.issubdtype(dtype, jnp.floating) else False


IMAGES_KIND = Kind(_images)
KEYS = Kind(lambda v: None if KEY.legal(v) or _is_keys(v) else False)


def _is_keys(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


EPOCH = Kind(
    lambda v: (
        None
        if isinstance(v, jax.core.Tracer) and v.shape == () and v.dtype == jnp.int32
        else k.maybe(integer(0)).legal(v)
    )
)
#: A number of examples; 0 takes all, and 1 is too few.
ZERO_OR_MORE = Kind(
    lambda v: False if not k.is_integer(v) or v < 0 or v == 1 or v > 10**4 else v < 10 or None,
    lambda v: (np.int64(v), np.uint8(v)),
)
#: Numbers with a leading axis of examples.
ARRAYS = Kind(
    lambda v: (
        None
        if isinstance(v, np.ndarray | jax.Array | list | tuple | range) and k.shape_of(v) != ()
        else False
    )
)


def train_on(**fields: Any) -> None:
    training.AdamW(TrainingConfig(**fields)).check(10**4)


def solve_on(**fields: Any) -> None:
    training.LeastSquares(LeastSquaresConfig(**fields)).check(10**4)


def classified(config: Any = CONFIG, num_classes: Any = 2, middle: Any = "bypass") -> Any:
    model = models.HybridClassifier(config, num_classes, middle)
    return jax.eval_shape(lambda key: model.init(key, IMAGES), KEY_0)


def regressed(images: Any, num_classes: Any) -> Any:
    model = models.PixelRegression(num_classes)
    return jax.eval_shape(lambda key: model.init(key, images), KEY_0)


def regressor(**given: Any) -> Any:
    model = models.HybridRegressor(**given)
    return jax.eval_shape(lambda key: model.init(key, ROWS), KEY_0)


def mlp(inputs: Any, **given: Any) -> Any:
    model = models.MLPRegressor(**given)
    return jax.eval_shape(lambda key: model.init(key, inputs), KEY_0)


TWO_CLASSES = data.ImageDataset(
    "tiny", IMAGES, LABELS.astype(np.uint8), IMAGES, LABELS.astype(np.uint8), ("a", "b"), "0"
)
CLASSES = Kind(
    lambda v: None if isinstance(v, list | tuple | range | np.ndarray | jax.Array) else False
)


def qiskit_circuit() -> QuantumCircuit:
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(1)
    circuit.rx(x[0], 0)
    circuit.ry(w[0], 0)
    return circuit


SEED_CONFIG = models.ModelConfig(channels=(), hidden=(3,), bound="none")
STATE_DICT = {
    f"{name}.{part}": np.full(shape, 0.25)
    for name, outputs, fan_in in (("fc1", 3, 784), ("fc2", 2, 3), ("fc3", 1, 1))
    for part, shape in (("weight", (outputs, fan_in)), ("bias", (outputs,)))
} | {"qnn.weight": np.full(6, 0.25)}
PATH = Kind(lambda v: None if isinstance(v, Path) else False)
NUMBERS = models.ModelConfig
#: One name or parameter, or several in order.
NAMES_OF_PARAMETERS = Kind(
    lambda v: None if isinstance(v, str | list | tuple) else False, lambda v: (list(v), v[0][0])
)
QASM = "OPENQASM 3.0; input float x_0; input float w_0; qubit q; U(x_0, w_0, 0) q;"

CALLS: Mapping[str, Call] = {
    # qnn_jax.circuits
    "Circuit": Call(
        Circuit,
        {
            "num_qubits": (2, size(1)),
            "ops": ((Op("h", 0),), Kind(lambda v: None if hasattr(v, "__iter__") else False)),
            "num_inputs": (0, integer(-1)),
            "num_weights": (0, integer(-1)),
        },
    ),
    "Circuit.then": Call(
        ONE.then, {"other": (ONE, CIRCUIT), "weights": ("fresh", choice("fresh", "shared"))}
    ),
    "Circuit.repeat": Call(
        ONE.repeat, {"times": (2, size(0)), "weights": ("fresh", choice("fresh", "shared"))}
    ),
    "Circuit.power": Call(ONE.power, {"exponent": (2, size(-(2**1000)))}),
    "Circuit.controlled": Call(ONE.controlled, {"num_controls": (1, size(1))}),
    "Circuit.on": Call(ONE.on, {"qubits": ((1, 0), QUBITS), "num_qubits": (3, optional(size(2)))}),
    "Circuit.shift_inputs": Call(ONE.shift_inputs, {"by": (1, integer(0))}),
    "Circuit.shift_weights": Call(ONE.shift_weights, {"by": (1, integer(0))}),
    "Circuit.from_json": Call(Circuit.from_json, {"text": (ONE.to_json(), TEXT)}),
    "Op": Call(
        Op,
        {
            "gate": ("rx", Kind(lambda v: None if isinstance(v, str) else False)),
            "qubits": (0, QUBITS),
            "angles": (0.5, ANGLE_LIKE),
        },
    ),
    "Op of a matrix": Call(
        Op,
        {
            "gate": ("unitary", Kind(lambda v: None if isinstance(v, str) else False)),
            "qubits": (0, QUBITS),
            "matrix": (np.array([[0.0, 1], [1, 0]]), Kind(lambda v: False, k.array_forms)),
        },
    ),
    "PauliSum": Call(
        PauliSum,
        {
            "terms": (
                (("ZZ", 1.0),),
                Kind(lambda v: False, lambda v: ([["ZZ", np.float32(1)]],), names=("observable",)),
            )
        },
    ),
    "observable": Call(
        of_circuits.observable,
        {"value": ("ZZ", k.called(OBSERVABLES, "observable", "observables"))},
    ),
    "x": Call(lambda index: qnn_jax.x[index], {"index": (1, k.without_arrays(integer(0)))}),
    "w": Call(lambda index: qnn_jax.w[index], {"index": (1, k.without_arrays(integer(0)))}),
    "amplitude_encoding": Call(
        qnn_jax.amplitude_encoding, {"num_qubits": (2, size(1)), "phases": (False, FLAG)}
    ),
    "angle_encoding": Call(
        qnn_jax.angle_encoding,
        {"num_qubits": (2, size(1)), "rotation": ("ry", choice("ry", "rx"))},
    ),
    "connections": Call(
        library.connections,
        {
            "num_qubits": (3, size(0)),
            "num_block_qubits": (2, size(1)),
            "entanglement": ("full", ENTANGLEMENT),
            "layer": (0, integer(0)),
        },
    ),
    "data_reuploading": Call(
        qnn_jax.data_reuploading,
        {
            "num_qubits": (2, size(1)),
            "num_inputs": (
                2,
                optional(Kind(lambda v: None if integer(1).legal(v) is not False else False)),
            ),
            "reps": (2, size(1)),
            "rotations": (("rz", "ry"), ONE_OF_NAMES),
            "entanglement": ("linear", ENTANGLEMENT),
        },
    ),
    "efficient_su2": Call(
        qnn_jax.efficient_su2,
        {
            "num_qubits": (2, size(1)),
            "su2_gates": (("ry",), k.called(BLOCKS, "rotation_blocks", "su2_gates")),
            **LAYERED,
        },
    ),
    "excitation_preserving": Call(
        qnn_jax.excitation_preserving,
        {"num_qubits": (2, size(1)), "mode": ("iswap", choice("iswap", "fsim")), **LAYERED},
    ),
    "iqp": Call(
        qnn_jax.iqp,
        {
            "interactions": (
                np.array([[1, 2], [2, 0]]),
                Kind(
                    lambda v: False, lambda v: (v.tolist(), v.astype(">i4"), tuple(map(tuple, v)))
                ),
            )
        },
    ),
    "n_local": Call(
        qnn_jax.n_local,
        {
            "num_qubits": (2, size(1)),
            "rotation_blocks": ("ry", BLOCKS),
            "entanglement_blocks": ("cx", BLOCKS),
            **LAYERED,
        },
    ),
    "pauli_evolution": Call(
        qnn_jax.pauli_evolution,
        {
            "hamiltonian": (
                "ZZ",
                k.called(OBSERVABLES, "observable", "observables", "hamiltonian"),
            ),
            "time": (0.5, k.called(ANGLE, "angle", "time")),
            "reps": (1, size(1)),
        },
    ),
    "pauli_feature_map": Call(
        qnn_jax.pauli_feature_map, {**FEATURE_MAP, "paulis": (("Z",), optional(ONE_OF_NAMES))}
    ),
    "qaoa_ansatz": Call(
        qnn_jax.qaoa_ansatz,
        {
            "cost_operator": ("ZZ", k.called(OBSERVABLES, "observable", "observables")),
            "reps": (1, size(1)),
            "initial_state": (Circuit(2), optional(CIRCUIT)),
            "mixer_operator": ("XX", optional(k.called(OBSERVABLES, "observable", "observables"))),
        },
    ),
    "qcnn": Call(
        qnn_jax.qcnn,
        {"num_qubits": (2, size(2)), "weights": ("fresh", choice("fresh", "shared"))},
    ),
    "quantum_volume": Call(
        qnn_jax.quantum_volume,
        {"num_qubits": (2, size(2)), "depth": (1, optional(size(1))), **SEED},
    ),
    "random_circuit": Call(
        qnn_jax.random_circuit,
        {
            "num_qubits": (2, size(1)),
            "depth": (1, size(0)),
            "max_operands": (2, integer(1, 4)),
            "trainable": (False, FLAG),
            **SEED,
        },
    ),
    "random_iqp": Call(qnn_jax.random_iqp, {"num_qubits": (2, size(1)), **SEED}),
    "real_amplitudes": Call(qnn_jax.real_amplitudes, {"num_qubits": (2, size(1)), **LAYERED}),
    "strongly_entangling_layers": Call(
        qnn_jax.strongly_entangling_layers,
        {
            "num_qubits": (3, size(1)),
            "reps": (2, k.maybe(size(1))),
            "ranges": (
                (1, 2),
                optional(Kind(lambda v: None if isinstance(v, list | tuple | range) else False)),
            ),
            "imprimitive": ("cx", choice("cx", "cz")),
        },
    ),
    "z_feature_map": Call(qnn_jax.z_feature_map, FEATURE_MAP),
    "zz_feature_map": Call(qnn_jax.zz_feature_map, {**FEATURE_MAP, "num_qubits": (2, size(2))}),
    # qnn_jax.simulate
    "amplitude_angles": Call(
        qnn_jax.amplitude_angles,
        {
            "vector": (
                STATE,
                k.maybe(STATE_KIND),
            )
        },
    ),
    "angles": Call(qnn_jax.angles, ON_ONE),
    "bytes_needed": Call(
        simulate.bytes_needed,
        {
            "circuit": (ONE, CIRCUIT),
            "gradient": ("adjoint", optional(choice("adjoint", "reverse"))),
            "itemsize": (4, Kind(lambda v: k.is_integer(v) and v in (4, 8))),
            "batch": (2, integer(1)),
        },
    ),
    "expectations": Call(
        qnn_jax.expectations,
        {**MEASURED, **MESH, "gradient": ("auto", choice("auto", "reverse", "adjoint"))},
    ),
    "fidelity": Call(qnn_jax.fidelity, {"state": (BELL, STATE_KIND), "other": (STATE, STATE_KIND)}),
    "fisher_information": Call(qnn_jax.fisher_information, ON_ONE),
    "kernel_matrix": Call(
        qnn_jax.kernel_matrix,
        {
            "circuit": (ONE, CIRCUIT),
            "X": (ROWS, array(None, 2)),
            "Y": (ROWS, optional(array(None, 2))),
            "weights": (W, array(2)),
        },
    ),
    "overlap": Call(qnn_jax.overlap, {"state": (BELL, STATE_KIND), "other": (STATE, STATE_KIND)}),
    "plan": Call(
        lambda **given: str(qnn_jax.plan(**given)),
        {"circuit": (ONE, CIRCUIT), "observables": (("ZZ",), optional(OBSERVABLES)), **MESH},
    ),
    "probabilities": Call(qnn_jax.probabilities, {**ON_ONE, "qubits": ((0, 1), optional(QUBITS))}),
    "quantum_geometric_tensor": Call(qnn_jax.quantum_geometric_tensor, ON_ONE),
    "sample": Call(
        qnn_jax.sample, {**ON_ONE, **MESH, "shots": (3, integer(1)), "key": (KEY_0, KEY)}
    ),
    "statevector": Call(qnn_jax.statevector, {**ON_ONE, **MESH}),
    "variances": Call(qnn_jax.variances, {**MEASURED, **MESH}),
    # qnn_jax.executors
    "exact": Call(
        executors.exact,
        {**EXECUTED, **MESH, "gradient": ("auto", choice("auto", "reverse", "adjoint"))},
    ),
    "sampled": Call(
        executors.sampled,
        {"shots": (3, integer(1)), "gradient": ("shift", choice("pathwise", "shift", "none"))},
    ),
    "an executor with shots": Call(executors.sampled(3), {**EXECUTED, "key": (KEY_0, KEY)}),
    "noisy": Call(
        executors.noisy,
        {
            "noise": (noise.NoiseModel(), only(noise.NoiseModel)),
            "shots": (3, optional(integer(1))),
            "gradient": ("shift", choice("pathwise", "shift", "none")),
            "method": ("trajectories", choice("auto", "exact", "trajectories")),
            "trajectories": (3, integer(2)),
            "twirl": (False, FLAG),
        },
    ),
    "a noisy executor": Call(
        executors.noisy(noise.NoiseModel({"ry": DAMPED}), 3), {**EXECUTED, "key": (KEY_0, KEY)}
    ),
    # qnn_jax.noise
    "amplitude_damping": Call(noise.amplitude_damping, {"rate": (0.25, rate(real(0, 1)))}),
    "phase_damping": Call(noise.phase_damping, {"rate": (0.25, rate(real(0, 1)))}),
    "depolarizing": Call(
        noise.depolarizing,
        {"probability": (0.25, rate(real(0, 16 / 15))), "num_qubits": (2, integer(1, 4))},
    ),
    "pauli": Call(noise.pauli, {"probabilities": ({"X": 0.25}, RARE)}),
    "thermal_relaxation": Call(
        noise.thermal_relaxation,
        {
            "t1": (2.0, RARE),
            "t2": (3.0, RARE),
            "time": (0.5, rate(real(0, math.inf))),
            "excited": (0.25, rate(real(0, 1))),
        },
    ),
    "coherent": Call(
        noise.coherent,
        {"gate": ("rx", RARE), "angle": (0.25, rate(real(-math.inf, math.inf)))},
    ),
    "kraus": Call(noise.kraus, {"operators": (np.eye(2)[None], RARE)}),
    "compose": Call(lambda channels: noise.compose(channels), {"channels": (DAMPED, RARE)}),
    "NoiseModel": Call(
        noise.NoiseModel,
        {
            "gates": ({"x": DAMPED}, RARE),
            "readout": ([[0.75, 0.5], [0.25, 0.5]], optional(RARE)),
            "idle": (None, optional(only(noise.Idle))),
            "num_qubits": (2, optional(integer(1, 5000))),
        },
    ),
    "Idle": Call(
        noise.Idle,
        {
            "durations": ({"x": 1.0}, RARE),
            "t1": ((2.0,), RARE),
            "t2": ((3.0,), RARE),
            "excited": ((0.25,), RARE),
        },
    ),
    "Experiment": Call(
        noise.Experiment,
        {
            "circuit": (Circuit(1, (Op("rz", 0, angles.x[0]),)), CIRCUIT),
            "qubits": ((0,), RARE),
            "settings": (np.zeros((2, 1)), array(2, 1)),
            "counts": (np.ones((2, 2)), k.maybe(array(2, 2, low=0))),
        },
    ),
    "learn_noise": Call(
        lambda **given: noise.learn_noise(**given).values,
        {
            "published": (noise.NoiseModel(), only(noise.NoiseModel)),
            "experiments": (COIN, RARE),
            "held_out": (0.5, real(0, 1, "()")),
            "seed": (0, integer(0, 2**32 - 1)),
            "labels": (None, optional(RARE)),
        },
    ),
    # qnn_jax.hardware
    "LearnSettings": Call(
        hardware.LearnSettings,
        {
            "settings": (64, optional(integer(16))),
            "shots": (64, integer(16)),
            "rep_delay": (0.5, optional(real(0, math.inf, "()"))),
            "budget_seconds": (0.5, optional(real(0, math.inf, "()"))),
            "seed": (3, integer(0, 2**32 - 1)),
            "repetition": (3, integer(0)),
        },
    ),
    "Settings": Call(
        hardware.Settings,
        {
            "images": (3, optional(integer(1))),
            "shots": (3, optional(integer(1))),
            "rep_delay": (0.5, optional(real(0, math.inf, "()"))),
            "copies": (3, optional(integer(1))),
            "budget_seconds": (0.5, optional(real(0, math.inf, "()"))),
            "anchors": (3, optional(integer(0))),
            "readout": (True, FLAG),
            "recompile": (False, FLAG),
            "fractional_gates": (False, FLAG),
            "two_stage": (False, FLAG),
            "seed": (3, integer(0, 2**32 - 1)),
            "repetition": (3, integer(0)),
        },
    ),
    # qnn_jax.initializers
    "recommended": Call(initializers.recommended, {"circuit": (ONE, CIRCUIT)}),
    "uniform": Call(
        initializers.uniform,
        {"bound": (0.5, BOUND)},
    ),
    # qnn_jax.linen, qnn_jax.nnx
    "linen.QuantumLayer": Call(layer("linen"), LAYER),
    "nnx.QuantumLayer": Call(
        layer("nnx"),
        {
            **LAYER,
            "rngs": (
                Make(lambda: nnx.Rngs(0)),
                Kind(lambda v: None if v is None else KEY.legal(v)),
            ),
        },
    ),
    # qnn_jax.executors: counts and mitigation
    "calibration_states": Call(executors.calibration_states, {"num_qubits": (2, integer(1))}),
    "fit_readout": Call(
        executors.fit_readout,
        {
            "counts": (np.array([[9.0, 1], [2, 8]]), Kind(lambda v: False, k.array_forms)),
            "num_qubits": (1, k.maybe(integer(1))),
        },
    ),
    "estimate": Call(
        executors.estimate,
        {
            "counts": (COUNTS, COUNTS_KIND),
            "observables": ((PauliSum((("ZZ", 1.0),)),), OBSERVABLES),
            "readout": (executors.Readout((np.eye(4),)), optional(Kind(lambda v: False))),
        },
    ),
    "fit_affine": Call(
        executors.fit_affine,
        {
            "measured": (ESTIMATE, Kind(lambda v: False)),
            "exact": (MEAN, Kind(lambda v: False, k.array_forms)),
        },
    ),
    "Affine.undo": Call(
        executors.Affine(np.array([0.5]), np.array([0.0])).undo,
        {"measured": (ESTIMATE, Kind(lambda v: False))},
    ),
    "mitigated": Call(
        executors.mitigated,
        {
            "executor": (executors.exact, FUNCTION),
            "readout": (executors.Readout((np.eye(4),)), optional(Kind(lambda v: False))),
            "affine": (
                executors.Affine(np.array([0.5]), np.array([0.0])),
                optional(Kind(lambda v: False)),
            ),
        },
    ),
    "flip_probabilities": Call(
        executors.flip_probabilities,
        {
            "outcomes": (
                np.array([[0.25, 0.75], [0.5, 0.5]]),
                Kind(lambda v: False, k.array_forms),
            ),
            "scores": (np.array([1.0, -1.0]), array(2)),
            "shots": (
                3,
                Kind(_shots, lambda v: (np.int64(v), np.float32(v), [v, v], np.full(2, v))),
            ),
        },
    ),
    "shots_to_settle": Call(
        executors.shots_to_settle,
        {
            "outcomes": (
                np.array([[0.25, 0.75], [0.5, 0.5]]),
                Kind(lambda v: False, k.array_forms),
            ),
            "scores": (np.array([1.0, -1.0]), array(2)),
            "flip": (0.25, real(0, 0.5, "(]")),
        },
    ),
    # qnn_jax.diagnostics
    "ansatz_bound": Call(
        diagnostics.ansatz_bound,
        {
            "circuit": (ONE, CIRCUIT),
            "observables": (("ZZ",), OBSERVABLES),
            **SAMPLES,
            "targets": (TARGETS, array(4)),
            "key": (KEY_0, KEY),
            "starts": (2, integer(1)),
            "steps": (2, integer(1)),
        },
    ),
    "circuit_gradient_variances": Call(
        diagnostics.circuit_gradient_variances,
        {
            "circuit": (ONE, CIRCUIT),
            "observables": (("ZZ",), OBSERVABLES),
            "key": (KEY_0, KEY),
            "draws": (2, integer(2)),
            **SAMPLES,
        },
    ),
    "effective_dimension": Call(
        diagnostics.effective_dimension,
        {
            "function": (lambda w, x: jnp.sin(w).sum() * jnp.cos(x).mean(), FUNCTION),
            "weights": (ROWS, Kind(lambda v: k.array(None, None, empty=False).legal(v) and None)),
            "inputs": (ROWS, Kind(lambda v: k.array(None, None, empty=False).legal(v) and None)),
            "counts": ((50, 100), Kind(lambda v: False, lambda v: (np.array(v), list(v)))),
            "key": (KEY_0, KEY),
            "gamma": (1.0, real(0, 1, "(]")),
        },
    ),
    "entangling_capability": Call(
        diagnostics.entangling_capability,
        {
            "circuit": (ONE, CIRCUIT),
            "key": (KEY_0, KEY),
            "states": (2, integer(2)),
            **SAMPLES,
            "weights": (W, optional(array(2))),
        },
    ),
    "expressibility": Call(
        diagnostics.expressibility,
        {
            "circuit": (ONE, CIRCUIT),
            "key": (KEY_0, KEY),
            "pairs": (2, integer(2)),
            "bins": (3, integer(2)),
            **SAMPLES,
            "weights": (W, optional(array(2))),
        },
    ),
    "fisher_spectrum": Call(
        diagnostics.fisher_spectrum,
        {"circuit": (ONE, CIRCUIT), "weights": (W, array(2)), **SAMPLES},
    ),
    "fourier_spectrum": Call(
        diagnostics.fourier_spectrum,
        {
            "circuit": (ONE, CIRCUIT),
            "observable": ("ZZ", OBSERVABLES),
            "weights": (W, array(2)),
            "fixed": ({0: 0.5}, optional(Kind(lambda v: None if isinstance(v, dict) else False))),
        },
    ),
    "gradient_variance": Call(
        diagnostics.gradient_variance,
        {
            "function": (lambda p: jnp.sum(jnp.sin(p)), FUNCTION),
            "draw": (lambda key: jax.random.normal(key, (2,)), FUNCTION),
            "key": (KEY_0, KEY),
            "draws": (2, integer(2)),
        },
    ),
    "kernel_alignment": Call(
        diagnostics.kernel_alignment,
        {
            "kernel": (np.eye(4), Kind(lambda v: False, k.array_forms)),
            "targets": (TARGETS, array(4)),
        },
    ),
    "least_absolute": Call(
        diagnostics.least_absolute,
        {"features": (ROWS, array(4, 2)), "targets": (TARGETS, array(4))},
    ),
    "meyer_wallach": Call(diagnostics.meyer_wallach, {"state": (BELL, STATE_KIND)}),
    "midpoints": Call(
        diagnostics.midpoints,
        {
            "num_inputs": (2, integer(1)),
            "points": (3, integer(1)),
            "low": (0.0, k.real(-math.inf, 1.0, "[)")),
            "high": (1.0, k.real(0.0, math.inf, "(]")),
        },
    ),
    "random_states": Call(
        diagnostics.random_states,
        {
            "circuit": (ONE, CIRCUIT),
            "key": (KEY_0, KEY),
            "count": (2, integer(1)),
            **SAMPLES,
            "weights": (W, optional(array(2))),
        },
    ),
    "random_weights": Call(
        diagnostics.random_weights,
        {"circuit": (ONE, CIRCUIT), "key": (KEY_0, KEY), "count": (2, integer(1))},
    ),
    "representation_bound": Call(
        diagnostics.representation_bound,
        {
            "circuit": (qnn_jax.z_feature_map(1, 1), CIRCUIT),
            "inputs": (np.arange(8.0)[:, None] / 8, Kind(lambda v: False, k.array_forms)),
            "targets": (np.arange(8.0), array(8)),
            "weights": ((), Kind(lambda v: None if k.shape_of(v) == (0,) else False)),
        },
    ),
    "signed_fisher_information": Call(
        diagnostics.signed_fisher_information,
        {
            "function": (lambda w, x: jnp.sin(w).sum() * jnp.cos(x).mean(), FUNCTION),
            "weights": (
                W,
                Kind(
                    lambda v: None if k.shape_of(v) and len(k.shape_of(v)) == 1 else False,
                    k.array_forms,
                ),
            ),
            "inputs": (
                ROWS,
                Kind(lambda v: k.array(None, None, empty=False).legal(v) and None, k.array_forms),
            ),
        },
    ),
    # qnn_jax.models
    "HybridClassifier": Call(
        classified,
        {
            "config": (CONFIG, Kind(lambda v: False)),
            "num_classes": (2, k.maybe(integer(2))),
            "middle": ("bypass", choice("quantum", "separable", "classical", "bypass", "network")),
        },
    ),
    "PixelRegression": Call(
        regressed, {"images": (IMAGES, IMAGES_KIND), "num_classes": (2, integer(2))}
    ),
    "HybridRegressor": Call(
        regressor,
        {
            "circuit": (ONE, k.called(CIRCUIT, "circuit", "observables")),
            "labels": (("ZZ",), k.called(OBSERVABLES, "labels", "observables", "observable")),
            "bias": (0.5, real(-math.inf, math.inf)),
            "weight_bound": (1.0, BOUND),
            "max_gain": (4.0, real(0, math.inf)),
            "executor": (executors.exact, FUNCTION),
        },
    ),
    "MLPRegressor": Call(
        mlp,
        {
            "inputs": (ROWS, ANY_TABLE),
            "width": (3, k.maybe(integer(0))),
            "bias": (0.5, real(-math.inf, math.inf)),
            "hidden_bias": (True, FLAG),
        },
    ),
    "count_parameters": Call(
        models.count_parameters, {"params": ({"a": np.zeros(3)}, Kind(lambda v: None))}
    ),
    "twin_width": Call(
        models.twin_width,
        {
            "num_features": (2, integer(1)),
            "num_outputs": (1, integer(1)),
            "num_weights": (6, integer(0)),
        },
    ),
    # qnn_jax.training
    "AdamW": Call(
        train_on,
        {
            "epochs": (3, integer(0)),
            "batch_size": (3, k.without_arrays(integer(1, 10**4))),
            "learning_rate": (0.5, real(0, math.inf, "(]")),
            "schedule": ("cosine", choice("cosine", "constant")),
            "weight_decay": (0.5, real(0, math.inf)),
            "loss": ("cross-entropy", choice("cross-entropy", "mse")),
            "label_smoothing": (0.5, real(0, 1, "[)")),
            "shift": (1, integer(0)),
            "flip": (True, FLAG),
            "passes": (1, integer(1)),
            "variance_weight": (0.5, real(0, math.inf)),
        },
    ),
    "LeastSquares": Call(
        solve_on,
        {
            "epochs": (3, k.without_arrays(integer(0, 10**5))),
            "batch_size": (3, ZERO_OR_MORE),
            "learning_rate": (0.5, real(0, math.inf, "(]")),
            "restarts": (3, k.without_arrays(integer(1, 1000))),
        },
    ),
    "augment": Call(
        training.augment,
        {
            "key": (KEY_0, KEY),
            "images": (IMAGES, ARRAYS),
            "shift": (1, integer(0, 14)),
            "flip": (True, FLAG),
        },
    ),
    "Metric": Call(
        training.Metric,
        {
            "name": ("mse", Kind(lambda v: isinstance(v, str) and v.isidentifier())),
            "title": ("test error", Kind(lambda v: isinstance(v, str) and bool(v))),
            "better": ("less", choice("more", "less")),
            "of_each": (lambda outputs, targets: outputs[:, 0] - targets, FUNCTION),
            "classes": (True, FLAG),
            "interval": (lambda each: (0.0, 1.0), FUNCTION),
            "bounds": ((0.0, math.inf), Kind(lambda v: False)),
            "scale": (1.0, real(0, math.inf, "()")),
            "unit": ("points", Kind(lambda v: isinstance(v, str))),
            "form": (".4g", Kind(lambda v: v in ("", "3") if isinstance(v, str) else False)),
        },
    ),
    "fit_epoch": Call(
        training.fit_epoch,
        {
            "task": (TASK, Kind(lambda v: False)),
            "names": (NAMES, Kind(lambda v: None if isinstance(v, tuple) and not v else False)),
            "state": (Make(lambda: fresh(state())), Kind(lambda v: False)),
            "key": (KEY_0, KEY),
            "epoch": (jnp.asarray(0), EPOCH),
            "train": (EXAMPLES, Kind(lambda v: False)),
            "validation": (EXAMPLES, Kind(lambda v: False)),
        },
    ),
    "fit_population_epoch": Call(
        training.fit_population_epoch,
        {
            "task": (TASK, Kind(lambda v: False)),
            "names": (NAMES, Kind(lambda v: None if isinstance(v, tuple) and not v else False)),
            "state": (Make(lambda: fresh(population())), Kind(lambda v: False)),
            "keys": (jax.random.split(KEY_0, 2), KEYS),
            "numbers": ({}, Kind(lambda v: False)),
            "epoch": (jnp.asarray(0), EPOCH),
            "train": (EXAMPLES, Kind(lambda v: False)),
            "validation": (EXAMPLES, Kind(lambda v: False)),
            **MESH,
            "at_once": (2, optional(integer(1))),
        },
    ),
    "in_batches": Call(
        training.in_batches,
        {
            "network": (MEMBER, Kind(lambda v: False)),
            "params": (
                Make(lambda: state().params["pixels"]),
                Kind(lambda v: None if isinstance(v, dict) else False),
            ),
            "inputs": (
                IMAGES,
                k.called(IMAGES_KIND, "inputs", "images"),
            ),
            "key": (KEY_0, optional(KEY)),
        },
    ),
    "init_population": Call(
        training.init_population,
        {
            "task": (TASK, Kind(lambda v: False)),
            "names": (NAMES, Kind(lambda v: None if isinstance(v, tuple) and not v else False)),
            "keys": (jax.random.split(KEY_0, 2), KEYS),
            "numbers": ({}, Kind(lambda v: False)),
            "inputs": (IMAGES, k.called(IMAGES_KIND, "inputs", "images")),
            **MESH,
        },
    ),
    "init_state": Call(
        training.init_state,
        {
            "task": (TASK, Kind(lambda v: False)),
            "names": (NAMES, Kind(lambda v: None if isinstance(v, tuple) and not v else False)),
            "key": (KEY_0, KEY),
            "inputs": (IMAGES, k.called(IMAGES_KIND, "inputs", "images")),
        },
    ),
    "map_batches": Call(
        training.map_batches,
        {
            "function": (lambda batch, key=None: batch, FUNCTION),
            "inputs": (jnp.asarray(IMAGES), ARRAYS),
            "key": (KEY_0, optional(KEY)),
        },
    ),
    # qnn_jax.data
    "class_numbers": Call(
        data.class_numbers, {"classes": ((0, 1), CLASSES), "names": (("a", "b"), CLASSES)}
    ),
    "ImageDataset.select": Call(TWO_CLASSES.select, {"classes": ((0, 1), CLASSES)}),
    # qnn_jax.bridge
    "aer": Call(
        bridge.aer,
        {
            "shots": (3, integer(1)),
            "noise": (None, optional(only(str))),
            "seed": (0, optional(SEED["seed"][1])),
            "progress": (None, optional(FUNCTION)),
        },
    ),
    "bridge.noisy": Call(
        bridge.noisy,
        {
            "device": ("FakeManilaV2", only(str)),
            "shots": (3, optional(integer(1))),
            "gradient": ("shift", choice("pathwise", "shift", "none")),
            "method": ("trajectories", choice("auto", "exact", "trajectories")),
            "trajectories": (3, integer(2)),
            "twirl": (False, FLAG),
            "idle": (False, FLAG),
        },
    ),
    "noise_model": Call(
        bridge.noise_model,
        {
            "source": ("FakeManilaV2", only(str)),
            "qubits": ((1, 0), RARE),
            "idle": (False, FLAG),
        },
    ),
    "angle_columns": Call(bridge.angle_columns, {"circuit": (ONE, CIRCUIT)}),
    "certify": Call(
        bridge.certify,
        {
            "circuit": (Circuit(1, (Op("ry", 0, angles.w[0]),)), CIRCUIT),
            "observables": ("Z", OBSERVABLES),
            "backend": (None, optional(only(str))),
            "isa": (None, optional(Kind(lambda v: False))),
            "draws": (1, integer(1)),
            "shots": (10, integer(1)),
            **SEED,
        },
    ),
    "Certificate.from_json": Call(
        bridge.Certificate.from_json,
        {
            "text": (
                bridge.Certificate("0", (), None, (), (), {}, 1, 1, 0, {}).to_json(),
                TEXT,
            )
        },
    ),
    "differences": Call(bridge.differences, {"first": (ONE, CIRCUIT), "second": (ONE, CIRCUIT)}),
    "draw": Call(
        bridge.draw, {"circuit": (ONE, CIRCUIT), "output": ("text", choice("text", "mpl"))}
    ),
    "from_qasm": Call(
        bridge.from_qasm,
        {
            "text": (QASM, TEXT),
            "inputs": (("x_0",), optional(NAMES_OF_PARAMETERS)),
            "weights": (("w_0",), optional(NAMES_OF_PARAMETERS)),
        },
    ),
    "from_qiskit": Call(
        bridge.from_qiskit,
        {
            "circuit": (qiskit_circuit(), Kind(lambda v: False)),
            "inputs": (("x[0]",), optional(NAMES_OF_PARAMETERS)),
            "weights": (("w[0]",), optional(NAMES_OF_PARAMETERS)),
        },
    ),
    "from_sparse_pauli_op": Call(
        bridge.from_sparse_pauli_op,
        {
            "operator": (
                SparsePauliOp("ZZ"),
                k.only(SparsePauliOp, names=("observable", "observables")),
            )
        },
    ),
    "load_torch": Call(
        bridge.load_torch,
        {
            "state_dict": (STATE_DICT, Kind(lambda v: False)),
            "preset": (SEED_CONFIG, Kind(lambda v: False)),
            "pixels": (
                (-1.0, 1.0),
                Kind(
                    lambda v: (
                        None
                        if isinstance(v, list | tuple | range | np.ndarray | jax.Array)
                        else False
                    )
                ),
            ),
            "pair": (False, FLAG),
        },
    ),
    "to_qasm2": Call(bridge.to_qasm2, ON_ONE),
    "to_qasm3": Call(
        bridge.to_qasm3,
        {"circuit": (ONE, CIRCUIT), "inputs": ("x", TEXT), "weights": ("w", TEXT)},
    ),
    "to_qiskit": Call(
        lambda **given: str(bridge.to_qiskit(**given)),
        {
            "circuit": (ONE, CIRCUIT),
            "form": ("table", choice("table", "named")),
            "inputs": ("x", TEXT),
            "weights": ("w", TEXT),
        },
    ),
    "to_qiskit with names": Call(
        lambda **given: str(bridge.to_qiskit(form="named", **given)),
        {"circuit": (ONE, CIRCUIT), "inputs": ("features", TEXT), "weights": ("w", TEXT)},
    ),
    "to_sparse_pauli_op": Call(
        bridge.to_sparse_pauli_op,
        {"value": ("ZZ", k.called(OBSERVABLES, "observable", "observables"))},
    ),
    # qnn_jax.runs
    "check_name": Call(runs.check_name, {"name": ("a", k.called(TEXT, "name", "run"))}),
    "runs.differences": Call(
        runs.differences, {"earlier": ({}, only(dict)), "now": ({}, only(dict))}
    ),
    "fingerprint": Call(runs.fingerprint, {"config": ({}, only(dict))}),
    "read_as": Call(lambda path: runs.read_as(path, dict), {"path": (FOLDER / "a.json", PATH)}),
    "read_bytes": Call(
        lambda path: runs.read_bytes(path, "try again"), {"path": (FOLDER / "a.json", PATH)}
    ),
    "read_sealed": Call(runs.read_sealed, {"path": (FOLDER / "a.npz", PATH)}),
    "refuse_files_of_others": Call(runs.refuse_files_of_others, {"path": (FOLDER, PATH)}),
    "runs.from_json": Call(
        lambda value: runs.from_json(int, value, "Argument `value`", "give a number"),
        {"value": (3, Kind(lambda v: None if k.is_integer(v) else False))},
    ),
    "read_json": Call(runs.read_json, {"path": (FOLDER / "a.json", PATH)}),
    "read_npz": Call(runs.read_npz, {"path": (FOLDER / "a.npz", PATH)}),
    "write_bytes_atomic": Call(
        runs.write_bytes_atomic,
        {
            "path": (FOLDER / "b", PATH),
            "data": (b"1", only(bytes)),
        },
    ),
    "write_json_atomic": Call(
        lambda path: runs.write_json_atomic(path, {}), {"path": (FOLDER / "c", PATH)}
    ),
    "write_npz_atomic": Call(
        runs.write_npz_atomic, {"path": (FOLDER / "d", PATH), "arrays": ({}, only(dict))}
    ),
    # qnn_jax.stats
    "holm": Call(stats.holm, {"p_values": (np.array([0.25, 0.5]), PROBABILITIES)}),
    "mcnemar": Call(stats.mcnemar, {"ahead": (3, integer(0)), "behind": (2, integer(0))}),
    "mean_interval": Call(stats.mean_interval, {"values": (np.array([0.5, 1.5]), ROW)}),
    "p_value": Call(stats.p_value, {"p": (0.5, real(0, 1))}),
    "paired_t_test": Call(
        stats.paired_t_test,
        {
            "first": (np.array([0.5, 1.5]), ROW_OF_TWO),
            "second": (np.array([0.25, 0.5]), ROW_OF_TWO),
        },
    ),
    "sign_flip_test": Call(
        stats.sign_flip_test, {"differences": (np.array([0.5, 1.5]), ROW_OF_TWO)}
    ),
    "wilson_interval": Call(
        stats.wilson_interval,
        {"successes": (2, integer(0, 3)), "count": (3, k.called(integer(2), "count", "successes"))},
    ),
}

#: Calls that compile each time, or take long: quick runs try only values that must be refused.
COSTLY = (
    "HybridClassifier",
    "amplitude_angles",
    "a noisy executor",
    "an executor with shots",
    "ansatz_bound",
    "augment",
    "certify",
    "circuit_gradient_variances",
    "effective_dimension",
    "entangling_capability",
    "expressibility",
    "fisher_information",
    "fisher_spectrum",
    "fit_epoch",
    "fit_population_epoch",
    "fourier_spectrum",
    "gradient_variance",
    "in_batches",
    "init_population",
    "init_state",
    "kernel_alignment",
    "kernel_matrix",
    "least_absolute",
    "map_batches",
    "linen.QuantumLayer",
    "meyer_wallach",
    "nnx.QuantumLayer",
    "quantum_geometric_tensor",
    "random_states",
    "random_weights",
    "representation_bound",
    "signed_fisher_information",
)

#: Public names without a call of their own, and why.
NO_CALLS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "ACCURACY",
            "FASHION_MNIST",
            "GATES",
            "HYBRID",
            "MEAN_L1",
            "PATTERNS",
            "TASKS",
            "__version__",
        ),
        "a value",
    ),
    **dict.fromkeys(
        ("class_losses", "squared_errors"),
        "part of an epoch's program, whose arguments are checked: tests/training",
    ),
    **dict.fromkeys(
        ("Calculator", "Fashion", "Tabular"), "a task, whose `check` is tried: tests/tasks"
    ),
    "HybridFeatures": "a task's network: tests/models",
    **dict.fromkeys(
        ("QuantumClassifier", "QuantumKernel", "QuantumRegressor", "QuantumSearch"),
        "an estimator, tried by scikit-learn's checks: tests/estimators",
    ),
    **dict.fromkeys(
        ("Trained", "load", "newest", "predict_file", "splits_of", "train"),
        "reads data or a run: tests/tasks",
    ),
    **dict.fromkeys(
        (
            "DeviceTwin",
            "Ledger",
            "Visit",
            "Where",
            "check_device",
            "device",
            "learn_device",
        ),
        "a device: tests/ibm",
    ),
    **dict.fromkeys(
        (
            "CertificationError",
            "DeviceStoppedError",
            "GracefulStop",
            "ImmediateStop",
            "InputError",
            "LargeAngleWarning",
        ),
        "an exception, a warning or a block",
    ),
    **dict.fromkeys(
        [
            "Affine",
            "AerRecord",
            "Alignment",
            "AnsatzBound",
            "Bound",
            "Certificate",
            "Counts",
            "DeviceRecord",
            "EffectiveDimension",
            "Entanglement",
            "Estimate",
            "Examples",
            "Executor",
            "Expectations",
            "Explanation",
            "Expressibility",
            "Expression",
            "FisherSpectrum",
            "Folders",
            "Gate",
            "GradientVariance",
            "HybridNetwork",
            "ImageDataset",
            "Learned",
            "LearnedNoise",
            "LeastAbsolute",
            "Member",
            "NoisyRecord",
            "ModelConfig",
            "Plan",
            "Readout",
            "Reference",
            "Report",
            "Result",
            "Seeds",
            "Spectrum",
            "Splits",
            "Task",
            "TaskDefaults",
            "Trainer",
        ],
        "a record or a type; what takes one checks it",
    ),
    "arrays_of": "names the file, not an argument: tests/runs",
    "RunDirectory": "opens a folder: tests/runs",
    "checkpoints": "a module: tests/runs",
    "load_fashion_mnist": "reads data: tests/data",
    **dict.fromkeys(("progress_bar", "clear_caches"), "takes nothing"),
}


def _no_checks(shots: Any) -> float:
    return 1 / shots


def _accepts_all(shots: Any) -> float:
    return 1.0


def _hangs(shots: Any) -> float:
    if not k.is_integer(shots) or shots < 1:
        while True:
            pass
    return float(shots < 10)


def _names_nothing(shots: Any) -> float:
    if not k.is_integer(shots) or shots < 1:
        raise qnn_jax.InputError("Something is wrong.")
    return 1.0


def _refuses_what_is_right(shots: Any) -> float:
    if type(shots) is not int or shots != 3:
        raise qnn_jax.InputError("Argument `shots` must be 3.")
    return 1.0


def _reads_bytes_as_numbers(shots: Any) -> int:
    try:
        return int(np.atleast_1d(shots).astype(int)[0])
    except Exception:
        raise qnn_jax.InputError("Argument `shots` must be an integer.") from None


#: Functions without checks, for which `findings` must report something.
BROKEN: Mapping[str, Call] = {
    one.__name__: Call(one, {"shots": (3, integer(1))})
    for one in (
        _no_checks,
        _accepts_all,
        _hangs,
        _names_nothing,
        _refuses_what_is_right,
        _reads_bytes_as_numbers,
    )
}
