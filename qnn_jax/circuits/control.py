"""Any gate under controls, rewritten exactly into gates of the table.

The gate table has the common cases by name (`_NAMES`). Everything else follows from two facts.
With U = W† · V · W only V needs the controls, and a product is controlled factor by factor; so a
rule says what a gate is made of, and rules end at RY and RZ, which a multiplexer controls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from qnn_jax.circuits.gates import controlled_matrix
from qnn_jax.circuits.multiplexer import where_all_controls_are_1
from qnn_jax.circuits.op import MAX_UNITARY_QUBITS, Op
from qnn_jax.errors import InputError

#: The gates that are another gate under controls: their name, that gate and how many controls.
_NAMES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "cx": ("x", 1),
        "cy": ("y", 1),
        "cz": ("z", 1),
        "ch": ("h", 1),
        "cs": ("s", 1),
        "csdg": ("sdg", 1),
        "csx": ("sx", 1),
        "cp": ("p", 1),
        "cu1": ("u1", 1),
        "crx": ("rx", 1),
        "cry": ("ry", 1),
        "crz": ("rz", 1),
        "cu3": ("u3", 1),
        "cswap": ("swap", 1),
        "ccx": ("x", 2),
        "ccz": ("z", 2),
        "c3sx": ("sx", 3),
    }
)
_NAME_OF = {base: name for name, base in _NAMES.items()}


@dataclass(frozen=True)
class _Parts:
    """A gate on its qubits 0, 1, …: `outer`, then `inner`, then the inverse of `outer`."""

    inner: tuple[Op, ...]
    outer: tuple[Op, ...] = ()


def _phase(angle: float) -> Callable[[], _Parts]:
    return lambda: _Parts((Op("p", 0, angle),))


_TO_X = (Op("h", 0),)  # turns a gate about Z into the same gate about X
_TO_Y = (Op("sdg", 0), Op("h", 0))
_RCCCX_OUTER = (Op("h", 3), Op("t", 3), Op("cx", (2, 3)), Op("tdg", 3), Op("h", 3))
_RCCCX_INNER = (Op("cx", (0, 3)), Op("t", 3), Op("cx", (1, 3)), Op("tdg", 3)) * 2

#: What every other gate is made of, as a function of its angles.
_RULES: Mapping[str, Callable[..., _Parts]] = MappingProxyType(
    {
        "id": lambda: _Parts(()),
        "x": lambda: _Parts((Op("p", 0, math.pi),), _TO_X),
        "y": lambda: _Parts((Op("p", 0, math.pi),), _TO_Y),
        "z": _phase(math.pi),
        "h": lambda: _Parts((Op("p", 0, math.pi),), (Op("ry", 0, -math.pi / 4),)),
        "s": _phase(math.pi / 2),
        "sdg": _phase(-math.pi / 2),
        "t": _phase(math.pi / 4),
        "tdg": _phase(-math.pi / 4),
        "sx": lambda: _Parts((Op("p", 0, math.pi / 2),), _TO_X),
        "sxdg": lambda: _Parts((Op("p", 0, -math.pi / 2),), _TO_X),
        "p": lambda lam: _Parts((Op("rz", 0, lam), Op("global_phase", (), lam / 2))),
        "u1": lambda lam: _Parts((Op("p", 0, lam),)),
        "rx": lambda theta: _Parts((Op("rz", 0, theta),), _TO_X),
        "r": lambda theta, phi: _Parts((Op("rx", 0, theta),), (Op("rz", 0, -phi),)),
        "u": lambda *angles: _Parts((Op("u3", 0, angles),)),
        "u2": lambda phi, lam: _Parts((Op("u3", 0, (math.pi / 2, phi, lam)),)),
        "u3": lambda theta, phi, lam: _Parts(
            (Op("p", 0, lam), Op("ry", 0, theta), Op("p", 0, phi))
        ),
        "cu": lambda theta, phi, lam, gamma: _Parts(
            (Op("p", 0, gamma), Op("cu3", (0, 1), (theta, phi, lam)))
        ),
        "swap": lambda: _Parts((Op("cx", (0, 1)),), (Op("cx", (1, 0)),)),
        "iswap": lambda: _Parts((Op("xx_plus_yy", (0, 1), (-math.pi, 0)),)),
        "dcx": lambda: _Parts((Op("cx", (0, 1)), Op("cx", (1, 0)))),
        "ecr": lambda: _Parts((Op("x", 0),), (Op("rzx", (0, 1), math.pi / 4),)),
        "rzz": lambda theta: _Parts((Op("rz", 1, theta),), (Op("cx", (0, 1)),)),
        "rxx": lambda theta: _Parts((Op("rzz", (0, 1), theta),), (Op("h", 0), Op("h", 1))),
        "ryy": lambda theta: _Parts((Op("rzz", (0, 1), theta),), (Op("sx", 0), Op("sx", 1))),
        "rzx": lambda theta: _Parts((Op("rzz", (0, 1), theta),), (Op("h", 1),)),
        "xx_plus_yy": lambda theta, beta: _Parts(
            (Op("crx", (1, 0), theta),), (Op("cx", (0, 1)), Op("rz", 0, beta))
        ),
        "xx_minus_yy": lambda theta, beta: _Parts(
            (Op("crx", (1, 0), theta),), (Op("cx", (0, 1)), Op("x", 1), Op("rz", 0, -beta))
        ),
        "rccx": lambda: _Parts(
            (Op("ccx", (0, 1, 2)), Op("ccz", (0, 1, 2)), Op("cz", (0, 2))), (Op("sdg", 2),)
        ),
        "rcccx": lambda: _Parts(_RCCCX_INNER, _RCCCX_OUTER),
    }
)


def controlled(op: Op, controls: Sequence[int]) -> list[Op]:
    """Gates that do `op` where every one of `controls` is 1 and nothing elsewhere."""
    if op.gate == "unitary":
        return [_controlled_unitary(op, controls)]
    base, own = _NAMES.get(op.gate, (op.gate, 0))
    controls, qubits = (*controls, *op.qubits[:own]), op.qubits[own:]
    name = _NAME_OF.get((base, len(controls)), base if not controls else None)
    if name is not None:
        return [Op(name, (*controls, *qubits), op.angles)]
    if base == "global_phase":  # becomes relative
        return controlled(Op("p", controls[-1], op.angles), controls[:-1])
    if base in ("ry", "rz"):
        return where_all_controls_are_1(base, controls, qubits[0], op.angles[0])
    parts = _RULES[base](*op.angles)
    outer = [_placed(part, qubits) for part in parts.outer]
    inner = [_placed(part, qubits) for part in parts.inner]
    return [
        *outer,
        *(gate for part in inner for gate in controlled(part, controls)),
        *(part.inverse() for part in reversed(outer)),
    ]


def _placed(op: Op, qubits: Sequence[int]) -> Op:
    return Op(op.gate, [qubits[q] for q in op.qubits], op.angles)


def _controlled_unitary(op: Op, controls: Sequence[int]) -> Op:
    qubits = (*controls, *op.qubits)
    if len(qubits) > MAX_UNITARY_QUBITS:
        raise InputError(
            f"Argument `num_controls` must leave every unitary at most {MAX_UNITARY_QUBITS} "
            f"qubits, controls included, but one on {len(op.qubits)} qubits gets {len(controls)} "
            "controls."
        )
    matrix: Any = op.matrix
    return Op("unitary", qubits, matrix=controlled_matrix(lambda m: matrix, len(controls))(None))
