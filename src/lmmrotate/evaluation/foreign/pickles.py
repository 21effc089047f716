"""Reading pickles of arrays and tensors without running anything that they say.

A pickle is a program: it may name any function of any module and call it. This reader knows the few names
that containers, numpy arrays and torch tensors need, and has its own constructors for them; every other name
is an error. Neither numpy's nor torch's unpickling code runs, and torch is not imported: tensors become
arrays. Constructors refuse to be given a state, so that nothing a file does to them outlasts its reading.

What is made stays about as large as the file: arrays and tensors are views of its bytes, and a constructor
that copies may not be called with the same parts again and again.

Formats: ``torch.Tensor.__reduce_ex__``, whose storages are ``torch.save`` streams of before version 1.6, and
the zip files of ``torch.save`` since (torch/serialization.py); numpy's ``ndarray.__reduce__`` and
``__reduce_ex__``.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sized
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from lmmrotate.errors import DataError

Array = npt.NDArray[Any]

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
_INERT = re.compile(r"(mmengine|mmdet|mmrotate|mmcv)\.")
"""Classes of these packages become objects that only hold attributes."""
_DTYPE = re.compile(r"[<>|=]?([biuf][1248])")
_ORDERS = {"<": "<", ">": ">", "|": "<", "=": "<"}
_Sized = TypeVar("_Sized", bound=Sized)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DEEPEST_STORAGE = 1  # a tensor's storage is a torch.save stream of its own, which holds no other

# What the pickle machine raises on damaged or hostile files.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
    zipfile.BadZipFile,
    OSError,
    NotImplementedError,
)


class _Forbidden(Exception):
    """A name that is not admitted."""


def load_pickle(path: Path) -> Any:
    """What a pickle, or a ``torch.save`` file, holds: containers, numbers, text and arrays.

    Objects of mmengine, mmdet and mmrotate (``InstanceData``, ``RotatedBoxes``) become ``Inert``.

    Raises:
        DataError: naming the file, for one that cannot be read and for a name that is not admitted.
    """
    try:
        with path.open("rb") as file:
            return _load(file, 0)
    except _Forbidden as error:
        raise DataError(
            f"{path}: the pickle names {error}, which is not admitted: only arrays, tensors and plain "
            "containers are read"
        ) from None
    except _DAMAGED as error:
        raise DataError(
            f"{path}: cannot be read as a pickle: {str(error) or type(error).__name__}"
        ) from error


class Inert:
    """An object of which only the attributes are known."""

    _state: Any = None

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self._state = state

    @property
    def fields(self) -> dict[str, Any]:
        """Its attributes by name."""
        parts = self._state if isinstance(self._state, tuple) else (self._state,)
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}


def as_array(value: Any) -> Array | None:
    """The array that an object from a pickle is, or holds as its ``tensor``; None if it is none."""
    if isinstance(value, Inert):
        value = value.fields.get("tensor")
    if isinstance(value, _Pending):
        value = value.array
    return value if isinstance(value, np.ndarray) else None


def _load(file: BinaryIO, depth: int) -> Any:
    start = file.read(4)
    file.seek(-len(start), io.SEEK_CUR)
    if start == b"PK\x03\x04":
        return _load_zip(file, depth)
    return _run(file, depth)


def _run(file: BinaryIO, depth: int, storage: Callable[[str, str, int], Array] | None = None) -> Any:
    """Load one pickle, whose memory must be numbered one by one, as pickling does it.

    Python makes room for all numbers up to the largest: one of four bytes would take 16 GiB.
    """
    start = file.tell()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of backslashes in names
        for count, (code, argument, _) in enumerate(pickletools.genops(file)):
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > count:
                raise pickle.UnpicklingError(f"its memory jumps to number {argument}")
    makers = _Makers(depth, file.tell() - start)
    file.seek(start)
    return _Unpickler(file, makers, storage).load()


def _load_zip(file: BinaryIO, depth: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        # torch.save stores without compressing, one after another; anything else may grow without limit.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise pickle.UnpicklingError("a torch.save file is not compressed")
        if sum(entry.file_size for entry in entries) > file.seek(0, io.SEEK_END):
            raise pickle.UnpicklingError("the parts of a torch.save file do not overlap")
        name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
        if name is None:
            raise pickle.UnpicklingError("a zip without data.pkl is no torch.save file")
        folder = name.removesuffix("data.pkl")

        @cache  # many tensors may share one
        def whole(dtype: str, key: str) -> Array:
            return _numbers(archive.read(f"{folder}data/{key}"), dtype)

        def storage(dtype: str, key: str, count: int) -> Array:
            return whole(dtype, key)[:count]  # tensors are held against what there is

        return _run(io.BytesIO(archive.read(name)), depth, storage)


def _load_storage(content: bytes, depth: int) -> Array:
    """The one storage in a stream that ``torch.save`` wrote; in general of the form before zip files."""
    if content.startswith(b"PK\x03\x04"):
        found = _load(io.BytesIO(content), depth)
        if not isinstance(found, np.ndarray):
            raise pickle.UnpicklingError("expected the storage of a tensor")
        return found
    file = io.BytesIO(content)
    wanted: list[tuple[str, str, int]] = []

    def note(dtype: str, key: str, count: int) -> Array:
        wanted.append((dtype, key, count))
        return np.empty(0)

    magic, version, _, _, keys = (_run(file, depth, note) for _ in range(5))
    if magic != _LEGACY_MAGIC or version != 1001 or len(wanted) != 1 or keys != [wanted[0][1]]:
        raise pickle.UnpicklingError("expected one storage, as torch.save writes it")
    dtype, _, count = wanted[0]
    (written,) = struct.unpack("<q", file.read(8))
    if written != count:
        raise pickle.UnpicklingError(f"a storage says that it has {count} numbers, and then {written}")
    return _numbers(file.read(), dtype, count)


def _numbers(content: bytes, dtype: str, count: int = -1) -> Array:
    """The first numbers in bytes, all by default; numpy has no bfloat16, so it becomes float32."""
    if dtype == "bfloat16":
        halves = np.frombuffer(content, "<u2", count)
        return (halves.astype("<u4") << 16).view("<f4")
    return np.frombuffer(content, dtype, count)


class _Dtype:
    """A numpy dtype of booleans, integers or floats; its byte order comes later, by ``__setstate__``."""

    def __init__(self, text: str, *_: Any) -> None:
        found = _DTYPE.fullmatch(text)
        if found is None:
            raise pickle.UnpicklingError(f"arrays of type {text!r}; valid: booleans, integers and floats")
        self._order, self._letters = "<", found[1]

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if not isinstance(order, str) or order not in _ORDERS:
            raise pickle.UnpicklingError(f"a byte order must be one of {' '.join(_ORDERS)}")
        self._order = _ORDERS[order]

    def array(self, content: Any, shape: Any, order: str) -> Array:
        """Bytes as an array; their number must be what shape and type ask for."""
        flat = np.frombuffer(content, f"{self._order}{self._letters}")
        sizes = tuple(map(int, shape))
        if min(sizes, default=0) < 0:
            raise pickle.UnpicklingError("an array of negative size")
        return flat.reshape(sizes, order="F" if order == "F" else "C")


def _array(dtype: Any, content: Any, shape: Any, order: str) -> Array:
    if type(dtype) is not _Dtype:
        raise pickle.UnpicklingError("an array without a type")
    return dtype.array(content, shape, order)


class _Pending:
    """An array whose content comes later, by ``__setstate__``."""

    array: Array | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_column, content = state
        self.array = _array(dtype, content, shape, "F" if by_column else "C")


class _Constructor:
    """A function that a pickle may call and do nothing else with."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a state for a function")


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: BinaryIO, makers: _Makers, storage: Callable[[str, str, int], Array] | None
    ) -> None:
        super().__init__(file)
        self._storage = storage
        functions: dict[tuple[str, str], Callable[..., Any]] = {
            ("_codecs", "encode"): makers.encode,
            ("builtins", "set"): makers.set,
            ("__builtin__", "set"): makers.set,  # its name in protocol 2
            ("collections", "OrderedDict"): makers.ordered_dict,
            ("numpy", "dtype"): _Dtype,
            ("torch", "Size"): makers.size,
            ("torch._utils", "_rebuild_tensor_v2"): makers.tensor,
            ("torch._utils", "_rebuild_tensor"): makers.tensor,
            ("torch.storage", "_load_from_bytes"): makers.load_storage,
        }
        for core in ("numpy.core", "numpy._core"):
            functions[f"{core}.multiarray", "_reconstruct"] = _Pending
            functions[f"{core}.multiarray", "scalar"] = makers.scalar
            functions[f"{core}.numeric", "_frombuffer"] = makers.from_buffer
        self._names: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): "numpy.ndarray",
            **{("torch", name): f"torch.{name}" for name in _STORAGES},
            **{name: _Constructor(function) for name, function in functions.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._names:
            return self._names[module, name]
        if _INERT.match(f"{module}."):
            return Inert
        raise _Forbidden(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Array:
        kind, dtype, key, _, count = pid[:5]
        if not (isinstance(dtype, str) and isinstance(key, str) and isinstance(count, int) and count >= 0):
            raise pickle.UnpicklingError("a storage without type, key and length")
        name = dtype.removeprefix("torch.")
        if kind != "storage" or self._storage is None or name not in _STORAGES or any(pid[5:]):
            raise pickle.UnpicklingError("expected the storage of a tensor")
        return self._storage(_STORAGES[name], key, count)


class _Makers:
    """Constructors for what the admitted names stand for.

    Args:
        depth: how many streams the pickle lies in.
        size: of the pickle, in bytes. Each may be copied twice, as protocol 2 makes a storage's stream
            from text.
    """

    __slots__ = ("_depth", "_left")

    def __init__(self, depth: int, size: int) -> None:
        self._depth = depth
        self._left = 2 * size

    def _copy(self, part: _Sized) -> _Sized:
        self._left -= len(part)
        if self._left < 0:
            raise pickle.UnpicklingError("it copies its parts again and again")
        return part

    def encode(self, text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes."""
        if encoding != "latin1":
            raise pickle.UnpicklingError("bytes as text that is not latin1")
        return self._copy(text).encode("latin1")

    def set(self, values: list[Any]) -> set[Any]:
        """Protocols 2 and 3 have no sign of their own for it."""
        return set(self._copy(values))

    def ordered_dict(self) -> OrderedDict[Any, Any]:
        return OrderedDict()

    def scalar(self, dtype: Any, content: bytes) -> Any:
        return _array(dtype, content, (1,), "C")[0].item()

    def from_buffer(self, content: Any, dtype: Any, shape: Any, order: str) -> Array:
        return _array(dtype, content, shape, order)

    def size(self, values: Any) -> tuple[int, ...]:
        return tuple(self._copy(values))

    def load_storage(self, content: bytes) -> Array:
        if self._depth >= _DEEPEST_STORAGE:
            raise pickle.UnpicklingError("a storage inside a storage")
        return _load_storage(self._copy(content), self._depth + 1)

    def tensor(self, storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Array:
        """A tensor as a view of its storage: a copy each would multiply what many of them share."""
        shape, steps = tuple(map(int, size)), tuple(map(int, stride))
        if (
            not isinstance(storage, np.ndarray)
            or len(shape) != len(steps)
            or min((offset, *shape, *steps)) < 0
        ):
            raise pickle.UnpicklingError("a tensor of no storage, or of odd shape")
        count = int(np.prod([float(n) for n in shape]))
        last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if count and (count > storage.size or last >= storage.size):
            raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
        if not count:
            return np.empty(shape, storage.dtype)
        steps_bytes = [step * storage.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps_bytes, writeable=False)
