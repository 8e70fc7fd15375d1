"""What `make bench` measures.

- `training`: an epoch of the hybrid network beside networks without a circuit.
- `simulator`: value and gradient of circuits beside other simulators, in these rooms:
    - `cases`: the circuits, the cells of the table, and the numbers they are evaluated at;
    - `worker`: the process that serves one engine, and `engines`, what it serves;
    - `workers`: the other end of the line, and `peers`, the environment that peers live in;
    - `table`: how it is printed.

`worker`, `engines`, `neutral` and `programs` also run in the peers' environment: they import
neither qnn_jax nor pipelines' other modules (only the engine "qnn_jax" imports qnn_jax, when made).
"""
