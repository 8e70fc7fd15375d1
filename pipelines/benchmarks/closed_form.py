r"""The 2022 circuit in closed form: ⟨ZZ⟩ of zz_feature_map(2, reps=2) + real_amplitudes(2, reps=2).

The reference for two qubits: the fastest program that we could write for this circuit alone, value
and gradient, in real arithmetic, over a batch of inputs, shape (batch, 2), and shared weights,
shape (6,).

The feature map is $D H^{⊗2} D H^{⊗2}$ with $D = diag(1, e^{ip_1}, e^{ip_2}, e^{ip_3})$: four
amplitudes from six sines and cosines. The ansatz is real: in the Heisenberg picture it maps ZZ
to a sum of the nine real Pauli strings, whose coefficients depend on the weights alone and are
computed once for the whole batch; each is linear in the cosine and sine of each weight, so a
derivative is the same sum with (cos, sin) of that weight replaced by (-sin, cos).

The barriers prevent XLA from recomputing sines wherever they are used: without them this takes
ten times longer. Matrix products of this size would take three times longer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: Pauli strings, (letter on qubit 0, letter on qubit 1), and their coefficients.
Strings = dict[tuple[str, str], Any]

#: CX(0, 1)† P CX(0, 1) for the nine real strings: another string and a sign.
_CX = {
    ("I", "X"): (("I", "X"), 1),
    ("I", "Z"): (("Z", "Z"), 1),
    ("X", "I"): (("X", "X"), 1),
    ("X", "X"): (("X", "I"), 1),
    ("X", "Z"): (("Y", "Y"), -1),
    ("Y", "Y"): (("X", "Z"), -1),
    ("Z", "I"): (("Z", "I"), 1),
    ("Z", "X"): (("Z", "X"), 1),
    ("Z", "Z"): (("I", "Z"), 1),
}
NAMES = tuple(_CX)
#: Column 0 is the sum itself, column 1 + k its derivative by weight k.
_DERIVED = np.eye(7, dtype=bool)[1:]


def value_and_gradient(inputs: Any, weights: Any) -> tuple[Any, Any, Any]:
    """⟨ZZ⟩ of each sample, and the gradient of their sum by inputs and by weights."""
    import jax.numpy as jnp
    from jax.lax import optimization_barrier as barrier

    table = barrier(jnp.stack(_coefficients(weights)))  # (9, 7)
    coefficients = table[:, 0]
    a, b = math.pi - inputs[:, 0], math.pi - inputs[:, 1]
    p = jnp.stack([2 * (math.pi - a + a * b), 2 * (math.pi - b + a * b), 4 * math.pi - 2 * (a + b)])
    cosines, sines = barrier((jnp.cos(p), jnp.sin(p)))
    c, s = [jnp.ones_like(a), *cosines], [jnp.zeros_like(a), *sines]
    y, z = _hadamard(c), _hadamard(s)
    four = range(4)
    amplitudes = barrier(
        jnp.stack(
            [c[k] * y[k] - s[k] * z[k] for k in four] + [c[k] * z[k] + s[k] * y[k] for k in four]
        )
    )
    re, im = amplitudes[:4], amplitudes[4:]
    turned = [(_apply(name, re), _apply(name, im)) for name in NAMES]
    expectations = jnp.stack(
        [sum(re[k] * r[k] + im[k] * i[k] for k in four) for r, i in turned]
    )  # (9, batch)
    values = jnp.sum(coefficients[:, None] * expectations, 0)
    of_weights = jnp.sum(table[:, 1:] * jnp.sum(expectations, 1)[:, None], 0)
    # Backwards through the second D, the second H and the first D.
    slopes = barrier(
        jnp.stack(
            [
                2 * sum(coefficients[n] * turned[n][part][k] for n in range(len(NAMES)))
                for part in (0, 1)
                for k in four
            ]
        )
    )
    by_re, by_im = slopes[:4], slopes[4:]
    by_c = _hadamard([by_re[k] * c[k] + by_im[k] * s[k] for k in four])
    by_s = _hadamard([by_im[k] * c[k] - by_re[k] * s[k] for k in four])
    by_p = barrier(
        jnp.stack(
            [
                by_im[k] * re[k] - by_re[k] * im[k] + by_s[k] * c[k] - by_c[k] * s[k]
                for k in (1, 2, 3)
            ]
        )
    )
    both = by_p[0] + by_p[1]
    by_a = 2 * (by_p[0] + by_p[2] - both * b)
    by_b = 2 * (by_p[1] + by_p[2] - both * a)
    return values, jnp.stack([by_a, by_b], 1), of_weights


def _coefficients(weights: Any) -> list[Any]:
    """Coefficients of each of `NAMES`, and their derivatives: arrays of shape (7,).

    RY† Z RY = cos θ Z - sin θ X and RY† X RY = cos θ X + sin θ Z.
    """
    import jax.numpy as jnp
    from jax.lax import optimization_barrier as barrier

    cosines, sines = barrier((jnp.cos(weights)[:, None], jnp.sin(weights)[:, None]))
    cos, sin = jnp.where(_DERIVED, -sines, cosines), jnp.where(_DERIVED, cosines, sines)
    unturned = np.where(_DERIVED, np.float32(0), np.float32(1))
    strings: Strings = {("Z", "Z"): 1.0}
    for layer in (2, 1, 0):
        for qubit in (0, 1):
            k = 2 * layer + qubit
            rules = {"Z": (("Z", cos[k]), ("X", -sin[k])), "X": (("X", cos[k]), ("Z", sin[k]))}
            found: Strings = {}
            for string, coefficient in strings.items():
                letter = string[qubit]
                for new, factor in rules.get(letter, ((letter, unturned[k]),)):
                    place = (new, string[1]) if qubit == 0 else (string[0], new)
                    found[place] = found.get(place, 0.0) + factor * coefficient
            strings = found
        if layer:
            strings = {_CX[name][0]: _CX[name][1] * c for name, c in strings.items()}
    return [strings[name] for name in NAMES]


def _hadamard(v: Any) -> list[Any]:
    """H on both qubits, and the factor 1/2 of the first layer."""
    a, b, c, d = v[0] + v[1], v[0] - v[1], v[2] + v[3], v[2] - v[3]
    return [(a + c) / 4, (b + d) / 4, (a - c) / 4, (b - d) / 4]


def _apply(string: tuple[str, str], v: Any) -> list[Any]:
    """P v for a real vector; bit q of an index is qubit q."""
    if string == ("Y", "Y"):
        return [-v[3], v[2], v[1], -v[0]]
    flips = sum(1 << qubit for qubit in (0, 1) if string[qubit] == "X")
    signs = [
        (-1) ** sum(string[qubit] == "Z" and index >> qubit & 1 for qubit in (0, 1))
        for index in range(4)
    ]
    return [v[k ^ flips] if signs[k] > 0 else -v[k ^ flips] for k in range(4)]
