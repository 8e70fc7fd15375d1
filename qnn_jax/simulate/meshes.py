"""Which axis of a mesh is for what, and what runs on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from qnn_jax.circuits.checks import shown
from qnn_jax.circuits.circuit import Circuit
from qnn_jax.errors import InputError

#: Devices to spread a state over: a mesh, or "ambient" for that of `jax.set_mesh`.
MeshLike: TypeAlias = Mesh | AbstractMesh | Literal["ambient"]
_DATA, _STATE = "data", "state"
SAME = PartitionSpec()


@dataclass(frozen=True)
class Spread:
    """A mesh, and which of its axes is for what.

    Attributes:
        mesh: the devices.
        state: the axis over which a state is spread.
        data: the axis over which samples are, or None.
    """

    mesh: Mesh | AbstractMesh
    state: str
    data: str | None = None

    @property
    def num_devices(self) -> int:
        """Over how many devices a state is spread."""
        return int(self.mesh.shape[self.state])

    @property
    def num_bits(self) -> int:
        """Bits of a device's number."""
        return self.num_devices.bit_length() - 1

    def run(
        self,
        function: Callable[..., Any],
        inputs: Array,
        weights: Array,
        *others: Array,
        of_inputs: PartitionSpec = SAME,
        out: Any = SAME,
    ) -> Any:
        """Run a function on every device, of inputs and of what all devices know.

        Raises:
            InputError: where the mesh has no devices, or another one is set.
        """
        ambient = jax.sharding.get_abstract_mesh()
        own = self.mesh.abstract_mesh
        if ambient.axis_names and own != ambient:
            raise InputError(
                f"Argument `mesh` must be the mesh of jax.set_mesh where one is set, {ambient}, "
                f"but is {own}."
            )
        if isinstance(self.mesh, AbstractMesh) and own != ambient:
            raise InputError(
                f"Argument `mesh` must have devices to run on, but is {own}; an AbstractMesh is "
                "for `plan` only."
            )
        # Values with the types of a mesh that is not set cannot be differentiated outside jit.
        mesh = self.mesh if ambient.axis_names else _automatic(self.mesh)
        specs = (of_inputs, *(SAME for _ in (weights, *others)))
        operands = [
            _typed(operand, mesh, spec)
            for operand, spec in zip((inputs, weights, *others), specs, strict=True)
        ]
        axes = {self.state} | {axis for axis in of_inputs if axis is not None}

        def on_device(inputs: Array, weights: Array, *others: Array) -> Any:
            # So cotangents are summed over the devices where they are fewest: those of angles,
            # not those of matrices.
            own = [
                lax.pcast(array, tuple(sorted(axes - jax.typeof(array).mat.varying)), to="varying")
                for array in (inputs, weights)
            ]
            return function(*own, *others)

        return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=out)(*operands)

    def ambient(self) -> AbstractContextManager[Any]:
        """The context in which "ambient" is this mesh, its axes called "state" and "data"."""
        assert isinstance(self.mesh, Mesh)
        names = [_STATE if axis == self.state else _DATA for axis in self.mesh.axis_names]
        types = (AxisType.Auto,) * len(names)
        return jax.set_mesh(Mesh(self.mesh.devices, names, axis_types=types))

    def known(self, *arrays: Array) -> tuple[Array, ...]:
        """Arrays that every process has, as arrays of all processes, of which there may be one."""
        if jax.process_count() == 1 or not isinstance(self.mesh, Mesh):
            return arrays
        return tuple(map(self._known, arrays))

    def _known(self, array: Array) -> Array:
        if isinstance(array, jax.core.Tracer) or not array.is_fully_addressable:
            return array
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            own = self._known(random.key_data(array))
            return random.wrap_key_data(own, impl=random.key_impl(array))
        assert isinstance(self.mesh, Mesh)
        sharding, values = NamedSharding(self.mesh, SAME), np.asarray(array)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def _automatic(mesh: Any) -> Any:
    """The same devices with axes whose shardings are no part of a type."""
    return mesh.update(axis_types=(AxisType.Auto,) * len(mesh.axis_types))


def _typed(operand: Array, mesh: Mesh | AbstractMesh, spec: PartitionSpec) -> Array:
    """An operand with the type that it has to have on a mesh."""
    if AxisType.Explicit in mesh.axis_types:
        return jax.reshard(operand, NamedSharding(mesh, spec))
    if AxisType.Explicit in jax.typeof(operand).sharding.mesh.axis_types:
        return jax.reshard(operand, NamedSharding(mesh, SAME))
    return operand


def spread_over(mesh: Any) -> Spread:
    """The axes of a mesh: one is the state's whatever its name; two have names.

    Raises:
        InputError: where it has other ones.
    """
    if isinstance(mesh, str) and mesh == "ambient":
        mesh = jax.sharding.get_abstract_mesh()
        if not mesh.axis_names:
            raise InputError(
                'Argument `mesh` is "ambient" and must be set, but is not; set it with '
                "jax.set_mesh(mesh)."
            )
    if not isinstance(mesh, Mesh | AbstractMesh):
        raise InputError(
            f'Argument `mesh` must be a jax.sharding.Mesh, "ambient" or None, but is {shown(mesh)}.'
        )
    names = tuple(mesh.axis_names)
    if len(names) == 1:
        return Spread(mesh, names[0])
    if set(names) == {_DATA, _STATE}:
        return Spread(mesh, _STATE, _DATA)
    raise InputError(
        f'Argument `mesh` must have one axis, or two that are called "{_DATA}" and "{_STATE}", '
        f"but has {shown(names)}."
    )


def checked_mesh(mesh: Any, circuit: Circuit) -> Spread:
    """The axes of a mesh that a circuit's state can be spread over.

    Raises:
        InputError: where it cannot, one sentence.
    """
    spread = spread_over(mesh)
    size, n = spread.num_devices, circuit.num_qubits
    if size < 1 or size & (size - 1):
        raise InputError(
            f"Argument `mesh` must have a power of two of devices along {spread.state!r}, but has "
            f"{size}."
        )
    if size > max(1, 2 ** (n - 2)):
        raise InputError(
            f"Argument `mesh` must have at most {max(1, 2 ** (n - 2))} devices along "
            f"{spread.state!r} for {n} qubits, so that each has two of them, but has {size}."
        )
    local = n - spread.num_bits
    widest = max((len(op.qubits) for op in circuit.ops), default=0)
    if size > 1 and widest > local:
        raise InputError(
            f"Argument `mesh` must have at most {2 ** (n - widest)} devices along "
            f"{spread.state!r} for {n} qubits and a gate on {widest}, but has {size}."
        )
    return spread
