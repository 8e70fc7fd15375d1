"""The twins of the Fashion-MNIST classifier, and the program that trains one of them.

All seeds of a twin train side by side: the single training of `qnn_jax.training`, mapped over keys
and, where few images train, over each seed's own draw of them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pipelines.ablate_run import Study, Trained
from pipelines.ablate_table import ACCURACY, HYBRID, Twin
from pipelines.training_run import manifest_of, split
from qnn_jax.data import ImageDataset, load_fashion_mnist, progress_bar
from qnn_jax.models import HybridClassifier, PixelRegression, count_parameters, twin_width
from qnn_jax.training import Examples, State, Task, evaluate
from qnn_jax.training.fit import first_state, one_epoch

if TYPE_CHECKING:
    from pipelines.ablate import FashionConfig

#: What logistic regression takes, relative to a network; for the time that is left.
_PIXELS_COST = 0.4


class FrozenCircuit(Task):
    """A task that leaves the circuit's weights as they were drawn: no gradient, no decay."""

    def optimizer(self) -> optax.GradientTransformation:
        """Adam for all but the circuit's weights."""
        return optax.chain(super().optimizer(), optax.transforms.freeze(_of_the_circuit))


def _of_the_circuit(params: Any) -> Any:
    """Which parameters are a circuit's weights."""
    return jax.tree.map_with_path(
        lambda path, _: any(getattr(entry, "key", None) == "quantum" for entry in path), params
    )


class Member(NamedTuple):
    """A twin with what trains it."""

    twin: Twin
    model: nn.Module
    task: type[Task] = Task


def members_of(config: FashionConfig, num_classes: int) -> list[Member]:
    """The model and its twins, each with what it got."""
    model = config.model
    circuit, labels = model.circuit(), model.labels(num_classes)
    separable = circuit.without_entanglement()
    dropped = len(circuit.ops) - len(separable.ops)
    unused = len(separable.unused_weights) - len(circuit.unused_weights)
    features = f"{model.num_qubits} features"
    width = twin_width(model.num_qubits, len(labels), circuit.num_weights)
    size = width * (model.num_qubits + len(labels))
    if model.bound == "tanh":
        around = f"{model.feature_center:.3g} ± {model.feature_scale:.3g} radians"
        centred = " centred at 0, from -1 to 1"
    else:
        around, centred = "no bounds", ""
    gain = (
        f"a head that starts with gain {model.head_gain:g}"
        if num_classes == 2 and model.head_gain
        else "a head drawn as Flax does"
    )
    moved = (
        "; shifted and mirrored images, made for convolutions, suit it less"
        if config.training.shift or config.training.flip
        else ""
    )
    hidden = model.hidden[-1] if model.hidden else "all"

    def hybrid(middle: Any) -> HybridClassifier:
        return HybridClassifier(model, num_classes, middle)

    return [
        Member(
            Twin(
                HYBRID,
                f"the model as is: {features} ({around}), the circuit of {len(circuit.ops)} gates "
                f"with {circuit.num_weights} weights, and {gain}",
            ),
            hybrid("quantum"),
        ),
        Member(
            Twin(
                "separable",
                f"the same without the {dropped} gates on several qubits; all others are kept, and "
                f"{unused or 'none'} of the weights {'is' if unused == 1 else 'are'} unused",
                "the entangling gates",
            ),
            hybrid("separable"),
        ),
        Member(
            Twin(
                "frozen",
                f"the same circuit, its weights left as drawn (uniform in ±{model.weight_bound:g}):"
                " no gradient, no decay; all else trains",
                "training the circuit",
            ),
            hybrid("quantum"),
            FrozenCircuit,
        ),
        Member(
            Twin(
                "classical",
                f"a layer of {size} weights in place of the circuit (tanh, "
                f"{model.num_qubits} → {width} → {len(labels)}, no bias), which reads the "
                f"features{centred}, and a head drawn as Flax does",
                "the circuit in place of a classical layer of its size",
            ),
            hybrid("classical"),
        ),
        Member(
            Twin(
                "bypass",
                f"nothing in place of the circuit: the head, drawn as Flax does, reads the "
                f"{features}{centred}",
                "the circuit in place of nothing",
            ),
            hybrid("bypass"),
        ),
        Member(
            Twin(
                "network",
                f"the classical network alone: the same convolutions and hidden layers, and the "
                f"head reads the last one's {hidden} numbers, with no {features} between",
                "features and circuit in place of a plain head",
            ),
            hybrid("network"),
        ),
        Member(
            Twin(
                "pixels",
                "logistic regression on pixels: one Dense layer, same batches and optimiser"
                + moved,
                "the whole hybrid in place of logistic regression",
            ),
            PixelRegression(num_classes),
        ),
    ]


def study(config: FashionConfig, classes: tuple[int, ...]) -> Study:
    """Fashion-MNIST's classes as something to ablate."""
    with progress_bar() as progress:
        dataset = load_fashion_mnist(config.data_dir, config.manual_dir, progress).select(classes)
    members = {member.twin.name: member for member in members_of(config, len(classes))}
    test = _on_device(dataset.test_images, dataset.test_labels)
    available = len(dataset.train_labels)

    def train(
        size: int,
        name: str,
        stopping: Callable[[], bool],
        tell: Callable[[int, int, float], None],
    ) -> Trained | None:
        images = training_images(dataset, config, size)
        task, anywhere = (task_at(config, members[name], at) for at in (size, available))
        return train_twin(task, anywhere, config, images, test, stopping, tell)

    return Study(
        task="fashion",
        about=f"{dataset.name}, {' against '.join(dataset.class_names)}"
        if len(classes) == 2
        else f"{dataset.name}, {len(classes)} classes",
        examples="images",
        metric=ACCURACY,
        twins=tuple(member.twin for member in members.values()),
        sizes=config.numbers_of_images(available),
        seeds=config.seeds,
        test_count=len(dataset.test_labels),
        train=train,
        facts=lambda size, name: facts(config, members[name], size),
        work=lambda size, name: work(config, members[name], size),
        notes=notes(config, available),
        manifest=manifest_of(config.seed, dataset),
    )


def notes(config: FashionConfig, available: int) -> tuple[str, ...]:
    """How it was done, in sentences."""
    training = config.training
    return (
        "Every twin has the same seeds, and of each seed the same images, order, shifts and "
        "mirrorings, and the same initial values wherever it has the same layer.",
        f"All train by AdamW with the same numbers: {training.epochs} epochs, learning rate "
        f"{training.learning_rate:g} ({training.schedule}), weight decay "
        f"{training.weight_decay:g}, batches of {training.batch_size} or, of fewer images, as "
        f"many as there are. An epoch of few images goes through them several times, so that all "
        f"epochs together have {config.least_steps} steps at least. The numbers are those that "
        "suited the hybrid model: no twin was tuned.",
        "At a reduced size each seed draws its own training images, as many of each class, and "
        "the intervals over seeds hold that chance too. All images are the same for all seeds: "
        "there, only initial values and the order differ.",
        "The test images only report: nothing was chosen by them here, no epoch and no twin; the "
        "last epoch counts. They are the same for all seeds, so the intervals leave out the "
        "chance of which images test.",
    )


def task_at(config: FashionConfig, member: Member, size: int) -> Task:
    """How a twin trains on `size` images."""
    count = size * config.passes_at(size)
    task = Task.of({member.twin.name: member.model}, config.training_at(size), count)
    return member.task(task.members, task.config, task.steps)


def training_images(dataset: ImageDataset, config: FashionConfig, size: int) -> Examples:
    """All images, the same for all seeds; or each seed's own draw, with a leading seed axis.

    The draw of a seed is that of `make train-fashion` with this seed and no validation images.
    Each image is there as often as an epoch goes through it.
    """
    passes = config.passes_at(size)
    if size == len(dataset.train_labels):
        return _on_device(
            np.tile(dataset.train_images, (passes, 1, 1)), np.tile(dataset.train_labels, passes)
        )
    draws = [split(dataset, int(seed), 0, size).train for seed in config.every_seed()]
    return Examples(
        jnp.stack([jnp.tile(draw.images, (passes, 1, 1)) for draw in draws]),
        jnp.stack([jnp.tile(draw.labels, passes) for draw in draws]),
    )


@functools.partial(jax.jit, static_argnames="task")
def _start(task: Task, keys: jax.Array, images: jax.Array) -> State:
    """The states that a task of one member starts from, with a leading seed axis."""
    return jax.vmap(lambda key: first_state(task, key, images))(keys)


@functools.partial(jax.jit, static_argnames="task")
def _scores(task: Task, params: Any, test: Examples) -> jax.Array:
    """Test accuracy of every seed; one after the other, since all at once take much memory."""
    ((name, _),) = task.members
    return jax.lax.map(lambda one: evaluate(task, one, test)[name][1], params)


def train_twin(
    task: Task,
    anywhere: Task,
    config: FashionConfig,
    train: Examples,
    test: Examples,
    stopping: Callable[[], bool],
    tell: Callable[[int, int, float], None],
) -> Trained | None:
    """Train one member of a task for all seeds in one program, and test it; None where stopped.

    Args:
        task: of one member.
        anywhere: the same at any size: it starts and scores, so that one program does for all.
        config: for its seeds.
        train: shared by all seeds, or with a leading seed axis.
        test: what the scores are of.
        stopping: whether to leave; asked between epochs.
        tell: hears finished epochs, all epochs, and the seconds that they took.
    """
    ((name, _),) = task.members
    keys = jax.vmap(jax.random.key)(config.every_seed())
    axis = 0 if train.labels.ndim == 2 else None
    nothing = Examples(test.images[:0], test.labels[:0])

    def epoch_of(state: State, key: jax.Array, epoch: jax.Array, train: Examples) -> Any:
        state, metrics = one_epoch(task, state, key, epoch, train, nothing)
        return state, metrics.finite[name]

    began = time.monotonic()
    state = _start(anywhere, keys, test.images)
    program = (
        jax.jit(jax.vmap(epoch_of, in_axes=(0, 0, None, axis)), donate_argnums=0)
        .lower(state, keys, jnp.asarray(0), train)
        .compile()
    )
    compiled = time.monotonic()
    finite = jnp.ones(config.seeds, bool)
    for epoch in range(task.config.epochs):
        state, finite = program(state, keys, jnp.asarray(epoch), train)
        finite.block_until_ready()
        if stopping():
            return None
        tell(epoch + 1, task.config.epochs, time.monotonic() - compiled)
    scores = np.asarray(_scores(anywhere, state.params, test), float)
    return Trained(
        [round(float(score), 7) for score in scores],
        int(np.sum(~np.asarray(finite))),
        (compiled - began, time.monotonic() - compiled),
    )


def _on_device(images: np.ndarray, labels: np.ndarray) -> Examples:
    return Examples(jnp.asarray(images), jnp.asarray(labels, jnp.int32))


def facts(config: FashionConfig, member: Member, size: int) -> dict[str, Any]:
    """What a twin has and gets."""
    training = config.training_at(size)
    params = jax.eval_shape(
        member.model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 28, 28), jnp.uint8)
    )
    counts = count_parameters(params["params"])
    frozen = counts["quantum"] if member.task is FrozenCircuit else 0
    return {
        "parameters": {
            "classical": counts["classical"],
            "quantum": counts["quantum"] - frozen,
            "frozen": frozen,
        },
        "batch_size": training.batch_size,
        "passes": training.epochs * config.passes_at(size),
        "steps": training.epochs * task_at(config, member, size).steps,
    }


def work(config: FashionConfig, member: Member, size: int) -> float:
    """Images that a program trains on, as a network would cost."""
    training = config.training_at(size)
    images = training.epochs * task_at(config, member, size).steps * training.batch_size
    return images * (_PIXELS_COST if isinstance(member.model, PixelRegression) else 1.0)
