"""The benchmarks of `make bench`.

- `training`: an epoch of the hybrid network compared with networks without a circuit.
- `simulator`: value and gradient of circuits compared with other simulators, in these modules:
    - `cases`: the circuits, the cells of the table, and the input values;
    - `worker`: the process of one engine, and `engines`, the engines;
    - `workers`: starts and calls these processes, and `peers`, the other simulators' environment;
    - `table`: prints the table.
- `forward`: values alone of circuits that do not repeat, compared with simulators in C++.

`worker`, `engines`, `forward_engines`, `neutral` and `programs` also run in the peers' environment:
they import neither qnn_jax nor pipelines' other modules (only the engine "qnn_jax" imports qnn_jax,
on use).
"""
