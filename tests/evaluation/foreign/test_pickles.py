"""Pickles of arrays and tensors are read bit for bit; hostile ones run nothing."""

import builtins
import collections
import io
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.pickles import as_array, load_pickle


def loaded(content: bytes, folder: Path) -> Any:
    path = folder / "results.pkl"
    path.write_bytes(content)
    return load_pickle(path)


DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_and_tensors(protocol: int, dtype: str, tmp_path: Path) -> None:
    array = np.arange(24).reshape(4, 6).astype(dtype)
    tensor = torch.from_numpy(array.copy())
    content = {
        "array": array,
        "by column": np.asfortranarray(array),
        "part": array[::2, 1:4],
        "big endian": array.astype(array.dtype.newbyteorder(">")),
        "tensor": tensor,
        "turned": tensor.T,
        "slice": tensor[1:, ::2],
        "empty": tensor[:0],
        "scalar": array[2, 3],
        "plain": (1, 2.5, "x", None, [True], b"\xff\x00", collections.OrderedDict(a=1)),
    }
    found = loaded(pickle.dumps(content, protocol), tmp_path)
    assert found["plain"] == content["plain"]
    assert found["scalar"] == content["scalar"].item()
    for name in ("array", "by column", "part", "big endian", "tensor", "turned", "slice", "empty"):
        read = as_array(found[name])
        assert read is not None, name
        expected = np.asarray(content[name])
        assert np.array_equal(read, expected)
        assert (read.dtype.kind, read.dtype.itemsize) == (expected.dtype.kind, expected.dtype.itemsize)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves(zipped: bool, tmp_path: Path) -> None:
    content = [{"a": torch.arange(5.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)}]
    buffer = io.BytesIO()
    torch.save(content[0]["a"], buffer, _use_new_zipfile_serialization=zipped)
    if zipped:
        torch.save(content, buffer := io.BytesIO())
        (found,) = loaded(buffer.getvalue(), tmp_path)
        assert np.array_equal(found["a"], np.arange(5.0))
        assert np.array_equal(found["b"], np.ones((2, 3)))
    bfloat = loaded(pickle.dumps(torch.tensor([1.5, -2.0], dtype=torch.bfloat16)), tmp_path)
    assert bfloat.tolist() == [1.5, -2.0]


class Reduced:
    """Pickles as a call of any function."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> Any:
        return self._call[0], self._call[1:]


def hostile(canary: Path) -> dict[str, tuple[Any, str]]:
    touch = f"touch {canary}"
    return {
        "system": (Reduced(os.system, touch), "system"),
        "eval": (Reduced(eval, f"open({str(canary)!r}, 'w')"), ".eval"),
        "open": (Reduced(open, str(canary), "w"), "open"),
        "getattr": (Reduced(getattr, "x", "upper"), ".getattr"),
        "import": (Reduced(builtins.__import__, "os"), ".__import__"),
        "numpy's own": (Reduced(np.load, str(canary), None, True), "numpy.load"),
        "torch's own": (Reduced(torch.load, str(canary)), "torch.serialization.load"),
        "in a list": ([{"a": (Reduced(os.system, touch),)}], "system"),
        "an array of objects": (np.array([Reduced(os.system, touch)], dtype=object), "O8"),
        "a record": (np.zeros(2, dtype=[("a", "f4")]), "V4"),
    }


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", hostile(Path()))
def test_nothing_is_run(name: str, protocol: int, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    content, named = hostile(canary)[name]
    with pytest.raises(DataError, match=r"results\.pkl: ") as error:
        loaded(pickle.dumps(content, protocol), tmp_path)
    assert named in str(error.value)
    assert not canary.exists()


def test_nothing_is_run_in_a_storage(tmp_path: Path) -> None:
    """A tensor's storage is a pickle in the pickle."""
    canary = tmp_path / "canary"
    inner = pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(Reduced(os.system, f"touch {canary}"))
    for content in (inner, legacy([Reduced(os.system, f"touch {canary}")])):
        with pytest.raises(DataError, match="system, which is not admitted"):
            loaded(pickle.dumps(Reduced(torch.storage._load_from_bytes, content)), tmp_path)
    deep = pickle.dumps(Reduced(torch.storage._load_from_bytes, legacy([], 4)))
    nested = legacy([Reduced(torch.storage._load_from_bytes, deep)])
    with pytest.raises(DataError):
        loaded(pickle.dumps(Reduced(torch.storage._load_from_bytes, nested)), tmp_path)
    assert not canary.exists()


def legacy(content: Any, count: int = 0) -> bytes:
    parts = (0x1950A86A20F9469CFC6C, 1001, {}, content, [])
    return b"".join(pickle.dumps(part, 2) for part in parts) + struct.pack("<q", count)


def test_a_state_for_a_function_is_refused(tmp_path: Path) -> None:
    """BUILD would put attributes on what every later file is read with."""
    for name in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n"):
        for state in (b"}X\x01\x00\x00\x00aK\x01s", b"}}X\x01\x00\x00\x00aK\x01s\x86"):
            with pytest.raises(DataError, match="cannot be read as a pickle"):
                loaded(b"\x80\x02" + name + state + b"b.", tmp_path)
    assert not hasattr(collections.OrderedDict, "a")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (-1, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**12,), (0,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
    ],
)
def test_tensors_do_not_reach_beyond_their_storage(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path
) -> None:
    class Wrong:
        def __reduce__(self) -> Any:
            storage = torch.arange(4.0).untyped_storage()
            typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
            return torch._utils._rebuild_tensor_v2, (typed, offset, size, stride, False, {})

    with pytest.raises(DataError, match="cannot be read as a pickle: a tensor"):
        loaded(pickle.dumps(Wrong()), tmp_path)


def test_zip_files_that_torch_does_not_write(tmp_path: Path) -> None:
    for entries, compression in (
        ({"x/other": b""}, 0),
        ({"x/data.pkl": b"0" * 10_000}, zipfile.ZIP_DEFLATED),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        with pytest.raises(DataError, match="cannot be read as a pickle"):
            loaded(buffer.getvalue(), tmp_path)


@settings(max_examples=300, deadline=None)
@given(
    protocol=st.sampled_from([2, 4, 5]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 10**6),
)
def test_damage_is_an_error_of_ours(
    protocol: int, changes: list[tuple[int, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    sample = {"bboxes": torch.ones(3, 5), "scores": np.arange(3.0), "x": [1, "a"]}
    content = bytearray(pickle.dumps([sample], protocol))
    for place, value in changes:
        content[place % len(content)] = value
    for damaged in (bytes(content), bytes(content[: cut % len(content)])):
        with suppress(DataError):
            loaded(damaged, folder)


def test_a_memory_that_jumps_is_not_made(tmp_path: Path) -> None:
    """Python would fill 16 GiB with zeros."""
    with pytest.raises(DataError, match="its memory jumps to number 2147483647"):
        loaded(b"\x80\x02]r\xff\xff\xff\x7f.", tmp_path)
    many = [[i] for i in range(1000)]
    for protocol in (0, 2, 4):
        assert loaded(pickle.dumps(many, protocol), tmp_path) == many
