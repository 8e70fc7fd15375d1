"""The process of one engine: requests and replies are lines of JSON.

    python -m pipelines.benchmarks.worker qujax

{"ask": "versions"}              -> {"qujax": "1.1.0", …}
{"ask": "prepare", …a problem…}  -> {"first_call_seconds": …, "steps": …, "values": …, …}
{"ask": "time", "steps": 1000}   -> {"seconds": …}, of one step

Failures are answered by {"error": "…"}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from pipelines.benchmarks.engines import ENGINES, versions
from pipelines.benchmarks.programs import OutOfMemoryError, Program, first_call, timed

#: A problem for every engine, including the closed form (which reads no circuit).
WARM_UP = {
    "circuit": """{"num_qubits": 2, "num_inputs": 2, "num_weights": 6, "ops": [
        {"gate": "ry", "qubits": [0], "angles": [["w", 0]]},
        {"gate": "cx", "qubits": [0, 1]},
        {"gate": "rx", "qubits": [1], "angles": [["x", 0]]}]}""",
    "batched": "inputs",
    "inputs": [[0.1, 0.2], [0.3, 0.4]],
    "weights": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}
#: The same for engines that take no batch and know U and CX only.
WARM_UP_FORWARD = {
    "circuit": """{"num_qubits": 2, "num_inputs": 0, "num_weights": 3, "ops": [
        {"gate": "u", "qubits": [0], "angles": [["w", 0], ["w", 1], ["w", 2]]},
        {"gate": "cx", "qubits": [0, 1]}]}""",
    "inputs": [],
    "weights": [0.1, 0.2, 0.3],
}


def main(engine: str) -> None:
    """Answer requests until there are no more."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # Only replies go to standard output; output of libraries goes to standard error.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    state: dict[str, Program] = {}
    for line in sys.stdin:
        try:
            reply = answer(engine, json.loads(line), state)
        except OutOfMemoryError as error:
            reply = {"error": str(error)}
        except Exception as error:
            sentence = " ".join(str(error).split())[:200]
            reply = {"error": f"{type(error).__name__}: {sentence}"}
        print(json.dumps(reply), file=replies, flush=True)


def _end_with(parent: int) -> None:
    """Exit when the parent has ended: during a compilation this would go unnoticed for minutes."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def answer(engine: str, request: dict[str, Any], state: dict[str, Program]) -> dict[str, Any]:
    """The reply to one request; `state` has the last prepared program."""
    if request["ask"] == "versions":
        # One-time imports and start-up are not part of any circuit's first call.
        warm_up = WARM_UP_FORWARD if engine.endswith(" forward") else WARM_UP
        ENGINES[engine][0](warm_up).run(1)
        return versions(engine)
    if request["ask"] == "time":
        return {"seconds": timed(state["program"], request["steps"])}
    state.clear()
    make = ENGINES[engine][0]
    state["program"], reply = first_call(lambda: make(request), request["memory_limit"])
    return reply


if __name__ == "__main__":
    main(sys.argv[1])
