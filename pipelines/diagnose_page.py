"""diagnose.html: what was found, in plain words with pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.diagnose_run import PAPERS, in_a_line
from pipelines.report import HEAD
from qnn_jax.circuits import Circuit
from qnn_jax.circuits.angles import symbols
from qnn_jax.errors import InputError
from qnn_jax.runs import write_bytes_atomic

if TYPE_CHECKING:
    from pipelines.diagnose_run import Subject
    from pipelines.figures import Picture

_PAGE = Template(f"""{HEAD}<p>What its circuit can represent, what it uses of that, and what
training is up against. Brackets hold 95 % intervals.</p>
$sections
<h2>The circuit</h2>
<pre>$circuit</pre>
<p>All numbers: diagnose.json in this folder.</p>
</html>
""")
_TITLES = {
    "representation": "Can it represent the target at all?",
    "fourier": "Which frequencies does it play?",
    "expressibility": "How much of the sphere of states does it cover?",
    "entanglement": "Does it use entanglement?",
    "gradients": "Would more layers still train?",
    "gradients_by_size": "Would more qubits still train?",
    "classical_gradients": "Do gradients get through to the classical layers?",
    "fisher": "Do all weights do something?",
    "effective_dimension": "How many parameters does it seem to have?",
    "kernel": "Does it bring samples together that belong together?",
}


def write(
    folder: Path,
    name: str,
    subject: Subject,
    found: Mapping[str, Any],
    pictures: Mapping[str, Picture],
) -> None:
    """Write diagnose.html into the run's folder; pictures are referred to, not copied.

    What could not be computed comes last, with the reason.
    """
    sections = []
    told = [key for key in _TITLES if key in found]
    for key in sorted(told, key=lambda key: isinstance(found[key], InputError)):
        value, title = found[key], _TITLES[key]
        words = (
            f"Not computed for this circuit. The reason: {value}"
            if isinstance(value, InputError)
            else _WORDS[key](subject, value)
        )
        section = f"<h2>{escape(title)}</h2><p>{escape(words)}</p>"
        if key in pictures:
            picture = pictures[key]
            section += (
                f'<figure><img src="figures/{picture.path.name}" alt="{escape(picture.caption)}">'
                f"<figcaption>{escape(picture.caption)} {escape(PAPERS[key])}</figcaption></figure>"
            )
        sections.append(section)
    page = _PAGE.substitute(
        name=escape(f"Diagnosis of {name}"),
        sections="\n".join(sections),
        circuit=escape(str(subject.circuit)),
    )
    write_bytes_atomic(folder / "diagnose.html", page.encode())


def _representation(subject: Subject, found: Mapping[str, Any]) -> str:
    best, ansatz, reached = found["any_observable"], found["ansatz"], found["mean_l1"]

    def told(name: str) -> str:
        low, high = found["interval"][name]
        return f"{reached[name]:.3g} ({low:.3g} to {high:.3g})"

    if reached["run"] < reached["ansatz"]:
        limit = "This run was trained better than all of those, so that they are no limit."
    elif reached["any_observable"] > 0.5 * reached["run"]:
        limit = (
            "The feature map itself is the limit: no training, and no further gate that reads no "
            "input, gets below the first number."
            if _encodes_without_weights(subject.circuit)
            else "No further gate that reads no input gets below the first number, unless the "
            "weights that scale the inputs change."
        )
    elif reached["ansatz"] > 0.5 * reached["run"]:
        limit = "The feature map holds the target better than the gates after it bring it out."
    else:
        limit = "These gates could do better than they were trained to."
    return (
        f"On {len(subject.targets):,} points, the best that any observable after this circuit "
        f"could do is a mean L1 of {told('any_observable')}, using {best.rank} independent "
        f"features; on these points none gets below {best.at_least:.3g}, by duality. The best that "
        f"{len(ansatz.starts)} fresh trainings of these very gates found is {told('ansatz')}; "
        f"{ansatz.agreeing} of them agree. This run has {told('run')}. {limit}"
    )


def _encodes_without_weights(circuit: Circuit) -> bool:
    """Are the states that observables are taken of the same whatever is trained, up to a turn?"""
    reads = [{s.vector for angle in op.angles for s in symbols(angle)} for op in circuit.ops]
    last = max((k for k, vectors in enumerate(reads) if "x" in vectors), default=-1)
    return not any("w" in vectors for vectors in reads[: last + 1])


def _fourier(subject: Subject, found: Mapping[str, Any]) -> str:
    variables = dict.fromkeys(name for one in found.values() for name in one.variables)
    shown = (
        "and this is all of it"
        if "all" in found
        else "of too many terms to list: here are cuts along each input, the others at their "
        "medians"
    )
    return (
        f"The circuit's function is a finite Fourier series, {shown}. "
        f"{in_a_line('fourier', found).capitalize()}. The inputs enter as "
        f"{', '.join(variables) or 'nothing at all'}; a trained scale moves the frequencies, and "
        "no further one can appear, however long one trains. Of several observables, this is the "
        "first."
    )


def _expressibility(subject: Subject, found: Any) -> str:
    idle = (2**subject.circuit.num_qubits - 1) * math.log(75)
    return (
        f"Random weights on random data give states that are {in_a_line('expressibility', found)} "
        f"(published values keep the histogram's bias: {found.plain:.3f}). A circuit that cannot "
        f"move scores {idle:.1f}; small numbers mean that it reaches everywhere, which is no "
        "virtue by itself: what reaches everywhere has flat gradients."
    )


def _entanglement(subject: Subject, found: Mapping[str, Any]) -> str:
    random, trained = found["random"], found["trained"]
    change = (
        "The trained weights entangle less than random ones."
        if trained.interval[1] < random.interval[0]
        else "The trained weights entangle more than random ones."
        if trained.interval[0] > random.interval[1]
        else "The trained weights entangle as random ones do."
    )
    return (
        f"On the data, the mean Meyer-Wallach measure is {in_a_line('entanglement', found)}. "
        f"{change} Whether it is of any use, a twin without entangling gates tells: make ablate."
    )


def _gradients(subject: Subject, found: Mapping[int, Any]) -> str:
    return (
        f"At random weights this circuit has a {in_a_line('gradients', found)} as long. Where it "
        "falls with length, more layers would train more slowly."
    )


def _gradients_by_size(subject: Subject, found: Mapping[int, Any]) -> str:
    rates = {kind: _per_qubit(found, kind) for kind in ("global", "local")}
    return (
        "Of the 2022 project's kind of circuit, at random weights, each further qubit multiplies "
        f"the variance of a gradient by {rates['global']:.2f} where all qubits are measured "
        f"together and by {rates['local']:.2f} where one is. Circuits that are deep enough to be "
        "random have a half: a barren plateau."
    )


def _per_qubit(sizes: Mapping[int, Any], kind: str) -> float:
    qubits = np.array(list(sizes), float)
    logs = np.log([sizes[n][kind].mean for n in sizes])
    return float(np.exp(np.polyfit(qubits, logs, 1)[0]))


def _classical_gradients(subject: Subject, found: Mapping[str, Any]) -> str:
    return (
        "The gradient of the output at the model's own random initialisation, layer by layer, the "
        f"circuit in between: {in_a_line('classical_gradients', found)}."
    )


def _fisher(subject: Subject, found: Any) -> str:
    return (
        f"At the trained weights {in_a_line('fisher', found)}. No state of "
        f"{subject.circuit.num_qubits} qubits has more than {found.most}. A direction that moves "
        "nothing is a weight too many."
    )


def _effective_dimension(subject: Subject, found: Any) -> str:
    return (
        f"Told from samples, each of them one sign that is measured, the circuit has an effective "
        f"dimension of {in_a_line('effective_dimension', found)}, in the mean over random weights."
    )


def _kernel(subject: Subject, found: Mapping[str, Any]) -> str:
    one = found["alignment"]
    return (
        f"The fidelities of the samples' states follow the targets with an alignment of "
        f"{one.centred:.3f} ({one.centred_interval[0]:.3f} to {one.centred_interval[1]:.3f}), "
        "where 0 is none and 1 is all, once what all samples share is taken out; "
        f"{one.value:.3f} without."
    )


_WORDS = {
    "representation": _representation,
    "fourier": _fourier,
    "expressibility": _expressibility,
    "entanglement": _entanglement,
    "gradients": _gradients,
    "gradients_by_size": _gradients_by_size,
    "classical_gradients": _classical_gradients,
    "fisher": _fisher,
    "effective_dimension": _effective_dimension,
    "kernel": _kernel,
}
