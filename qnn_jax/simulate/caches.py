"""Forgetting what was compiled."""

from __future__ import annotations

import gc
import sys

import jax


def clear_caches() -> None:
    """Drop every compiled program and every plan of this process; the next call compiles again.

    Each circuit is compiled once for each set of observables and way of differentiating, and JAX
    keeps the program for good: about 5 MB a circuit of a few qubits with its gradient. A search
    over thousands of circuits calls this now and then: the memory is then used again, though the
    system may still count it. Programs of other code, which JAX keeps in the same place, are
    dropped too.
    """
    jax.clear_caches()
    for name, module in list(sys.modules.items()):
        if name.startswith("qnn_jax."):
            for cached in vars(module).values():
                if hasattr(cached, "cache_clear") and cached.__module__ == name:
                    cached.cache_clear()
    gc.collect()
