"""The free parameters of Qiskit circuits and OpenQASM texts: inputs and weights told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qiskit.circuit import Parameter, ParameterVector

from qnn_jax.circuits.checks import several, shown
from qnn_jax.errors import InputError

#: A free parameter or a vector of them, or the name of one.
ParameterLike: TypeAlias = "Parameter | ParameterVector | str"
#: Names, in lower case, that people give to data. A single vector of such a name is not taken for
#: the weights of an ansatz without a question.
_NAMES_OF_DATA = frozenset({"x", "data", "input", "inputs", "feature", "features"})
#: How many names a message shows.
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Elements:
    """A vector of parameters that has a name, as ParameterVector has."""

    name: str
    params: list[Parameter]


@dataclass(frozen=True)
class FreeParameters:
    """The free parameters of a circuit or a text."""

    parameters: Sequence[Parameter]  # all of them, in the order that is the default
    #: The vector of each parameter that is an element of one.
    vectors: Mapping[Parameter, ParameterVector | Elements]
    owner: str  # what messages call the circuit or the text

    def sorted_into(
        self,
        inputs: ParameterLike | Iterable[ParameterLike] | None,
        weights: ParameterLike | Iterable[ParameterLike] | None,
    ) -> tuple[Sequence[Parameter], Sequence[Parameter]]:
        """The parameters that are inputs and those that are weights, in order.

        Each is given as parameters, vectors or names; None is all that are not in the other. Where
        both are None, the vector x is the inputs; names that do not tell them apart are refused.
        """
        if inputs is None and weights is None:
            return self._by_default()
        first = None if inputs is None else self._chosen("inputs", inputs)
        second = None if weights is None else self._chosen("weights", weights)
        first = self._without(second) if first is None else first  # type: ignore[arg-type]
        second = self._without(first) if second is None else second
        in_first, in_second = set(first), set(second)
        for parameter in self.parameters:
            if (parameter in in_first) + (parameter in in_second) != 1:
                where = "both" if parameter in in_first else "neither"
                raise InputError(
                    "Arguments `inputs` and `weights` must name every free parameter once, but "
                    f"{parameter.name!r} is in {where}."
                )
        return first, second

    def _without(self, others: Sequence[Parameter]) -> list[Parameter]:
        known = set(others)
        return [p for p in self.parameters if p not in known]

    def _vector_name(self, parameter: Parameter) -> str | None:
        vector = self.vectors.get(parameter)
        return None if vector is None else vector.name

    def _names(self) -> list[str]:
        """The names of vectors and of parameters that are in none, each once."""
        return list(dict.fromkeys(self._vector_name(p) or p.name for p in self.parameters))

    def _by_default(self) -> tuple[list[Parameter], list[Parameter]]:
        chosen = [p for p in self.parameters if self._vector_name(p) == "x"]
        names = self._names()
        one_of_data = len(names) == 1 and names[0].lower() in _NAMES_OF_DATA
        if not chosen and (len(names) > 1 or one_of_data):
            raise InputError(
                "Argument `inputs` must say which parameters are inputs where no vector is called "
                f"x, but {self.owner} has {_listed(names)}; write inputs={names[0]!r} for one of "
                "them, a list for several, or inputs=[] where all are weights."
            )
        return chosen, self._without(chosen)

    def _chosen(
        self, argument: str, given: ParameterLike | Iterable[ParameterLike]
    ) -> Sequence[Parameter]:
        if isinstance(given, str | Parameter | ParameterVector) or not isinstance(given, Iterable):
            given = [given]
        own = {parameter.name: parameter for parameter in self.parameters}
        chosen: dict[Parameter, None] = {}
        for one in several(argument, given, "parameters or their names"):
            for parameter in self._meant(argument, one, own):
                if parameter in chosen:
                    raise InputError(
                        f"Argument `{argument}` must name each parameter once, but has "
                        f"{parameter.name!r} twice."
                    )
                chosen[parameter] = None
        return list(chosen)

    def _meant(
        self, argument: str, one: ParameterLike, own: Mapping[str, Parameter]
    ) -> Sequence[Parameter]:
        """The parameters of an object or a name; `own` has all parameters by name."""
        if isinstance(one, str):
            return self._named(argument, one, own)
        found: list[Parameter] = []
        if isinstance(one, Parameter | ParameterVector):
            found = [one] if isinstance(one, Parameter) else list(one)
        for parameter in found:
            if own.get(parameter.name, parameter) != parameter:
                raise InputError(
                    f"Argument `{argument}` must hold the free parameters of {self.owner}, but "
                    f"{parameter.name!r} is another parameter with the same name; give the name "
                    "instead of the object."
                )
        if isinstance(one, ParameterVector) or (found and one.name in own):
            return found
        raise self._unknown(argument, one)

    def _named(self, argument: str, name: str, own: Mapping[str, Parameter]) -> Sequence[Parameter]:
        elements = [p for p in self.parameters if self._vector_name(p) == name]
        whole = list(self.vectors[elements[0]].params) if elements else []
        if (name in own and elements) or not set(elements) <= set(whole):
            raise InputError(
                f"Argument `{argument}` must have one meaning, but {name!r} is the name of several "
                f"vectors or parameters of {self.owner}; give the object instead of the name."
            )
        if name in own:
            return [own[name]]
        if not elements:
            raise self._unknown(argument, name)
        return whole

    def _unknown(self, argument: str, one: object) -> InputError:
        return InputError(
            f"Argument `{argument}` must hold free parameters, but has "
            f"{shown(getattr(one, 'name', one))}; {self.owner} has {_listed(self._names())}."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(map(repr, names[:_NAMES_SHOWN])) + more or "none"
