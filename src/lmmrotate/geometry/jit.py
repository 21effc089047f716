"""``numba.njit`` with types: a kernel keeps the signature it was written with."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile ``function`` on its first call, and keep the machine code on disk for the next run.

    While it runs, other Python threads go on.
    """
    try:
        compiled = numba.njit(function, cache=True, nogil=True)
    except RuntimeError:
        # No folder for the cache is writable (a read-only container): compile once a process instead.
        compiled = numba.njit(function, nogil=True)
    return cast(F, compiled)
