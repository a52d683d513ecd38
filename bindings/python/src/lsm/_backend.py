"""Chooses how the hot calls are made: by the C extension where it was built, else through ctypes.

LSM_PYTHON=native or LSM_PYTHON=ctypes asks for one of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import _library
from ._errors import make_error


def _native() -> Any:
    wanted = os.environ.get("LSM_PYTHON", "")
    if wanted not in ("", "native", "ctypes"):
        raise ImportError(f"LSM_PYTHON is {wanted!r}: native or ctypes")
    if wanted == "ctypes":
        return None
    try:
        from . import _native  # type: ignore[attr-defined]
    except ImportError:
        if wanted == "native":
            raise
        return None
    _native.bind({name: _library.address(name) for name in _native.names()}, make_error)
    return _native


_module = _native()
backend = "ctypes" if _module is None else "native"

if TYPE_CHECKING or _module is None:
    from ._portable import BatchCore, CursorCore, KeyspaceCore, SnapshotCore, Value
else:
    BatchCore = _module.BatchCore
    CursorCore = _module.CursorCore
    KeyspaceCore = _module.KeyspaceCore
    SnapshotCore = _module.SnapshotCore
    Value = _module.Value

__all__ = ["BatchCore", "CursorCore", "KeyspaceCore", "SnapshotCore", "Value", "backend"]


def view_of(value: Value) -> memoryview:
    """A read-only view of a pinned value."""
    return memoryview(value) if backend == "native" else value.view()  # type: ignore[arg-type]
