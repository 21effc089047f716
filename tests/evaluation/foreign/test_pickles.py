"""Pickles of arrays and tensors are read bit for bit; hostile ones run nothing."""

import builtins
import collections
import copy
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


def test_what_torch_saves(tmp_path: Path) -> None:
    whole = torch.arange(5.0)
    content = {"a": whole, "part": whole[2:4], "none": torch.empty(0, 5), "b": torch.ones(2, 3).bfloat16()}
    torch.save([content], buffer := io.BytesIO())
    (found,) = loaded(buffer.getvalue(), tmp_path)
    for name, tensor in content.items():
        assert np.array_equal(found[name], tensor.float().numpy()), name
        assert found[name].shape == tensor.shape
    bfloat = loaded(pickle.dumps(torch.tensor([1.5, -2.0], dtype=torch.bfloat16)), tmp_path)
    assert bfloat.tolist() == [1.5, -2.0]


def storage_of(tensor: torch.Tensor) -> Any:
    storage = tensor.untyped_storage()
    return torch.storage.TypedStorage(wrap_storage=storage, dtype=tensor.dtype, _internal=True)


def test_a_storage_may_be_a_zip_file(tmp_path: Path) -> None:
    torch.save(storage_of(torch.arange(5.0)), buffer := io.BytesIO())
    found = loaded(pickle.dumps(Reduced(torch.storage._load_from_bytes, buffer.getvalue())), tmp_path)
    assert found.tolist() == [0, 1, 2, 3, 4]


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
    with zipfile.ZipFile(zipped := io.BytesIO(), "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(Reduced(os.system, f"touch {canary}")))
    for content in (inner, legacy([Reduced(os.system, f"touch {canary}")]), zipped.getvalue()):
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
    for name in (
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cnumpy\ndtype\n",
        b"ccollections\nOrderedDict\n",
        b"cmmengine.structures\nInstanceData\n",
    ):
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
            storage = storage_of(torch.arange(4.0))
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})

    with pytest.raises(DataError, match="cannot be read as a pickle: a tensor"):
        loaded(pickle.dumps(Wrong()), tmp_path)


class Rebuilt:
    """Pickles as an array whose ``__setstate__`` is given anything."""

    def __init__(self, *state: Any) -> None:
        self._state = state

    def __reduce__(self) -> Any:
        maker, arguments, _ = np.empty(0).__reduce__()
        return maker, arguments, (1, *self._state)


class Typed:
    """Pickles as a float32 whose byte order is anything."""

    def __init__(self, order: Any) -> None:
        self._order = order

    def __reduce__(self) -> Any:
        return np.dtype, ("f4", False, True), (3, self._order, None, None, None, -1, -1, 0)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (((10**12,), np.dtype("f4"), False, b"1234"), "cannot reshape"),
        (((-1,), np.dtype("f4"), False, b"1234"), "an array of negative size"),
        (((2,), np.dtype("f4"), False, b"1234"), "cannot reshape"),
        (((1,), np.dtype("f4"), False, b"123"), "buffer size must be a multiple"),
        (((1,), np.dtype("O"), False, [1]), "arrays of type 'O8'"),
        (((1,), "O", False, b"12345678"), "an array without a type"),
        (((1,), Typed("O,<"), False, b"12345678"), "a byte order must be one of < > | ="),
        (((1,), Typed(["O"]), False, b"12345678"), "a byte order must be one of"),
    ],
)
def test_arrays_are_as_large_as_their_bytes(state: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"cannot be read as a pickle: .*{message}"):
        loaded(pickle.dumps([Rebuilt(*state)]), tmp_path)


def test_tensors_share_what_they_view(tmp_path: Path) -> None:
    """Copies would make a thousand times the storage of a thousand views of it."""
    whole = torch.arange(10_000.0)
    torch.save([whole.view(100, 100)[i % 50 :] for i in range(200)], tmp_path / "results.pkl")
    found = load_pickle(tmp_path / "results.pkl")
    assert all(np.shares_memory(found[0], array) for array in found)
    assert np.array_equal(found[70], whole.view(100, 100)[20:])


def test_parts_are_not_copied_again_and_again(tmp_path: Path) -> None:
    """A megabyte and ten thousand calls of six bytes would make ten gigabytes."""
    for global_, part in (
        (b"ctorch\nSize\n", pickle.dumps([0] * 1000, 2)[2:-1]),
        (b"c__builtin__\nset\n", pickle.dumps(list(range(1000)), 2)[2:-1]),
        (b"c_codecs\nencode\n", b"X\xe8\x03\0\0" + b"x" * 1000 + b"X\x06\0\0\0latin1"),
    ):
        start = b"\x80\x02]" + global_ + b"q\x01(" + part + b"tq\x0200("
        assert len(loaded(start + b"h\x01h\x02R" + b"e.", tmp_path)) == 1
        content = start + b"h\x01h\x02R" * 50 + b"e."
        with pytest.raises(DataError, match="copies its parts again and again"):
            loaded(content, tmp_path)


def test_zip_files_that_torch_does_not_write(tmp_path: Path) -> None:
    for name, content, compression, message in (
        ("x/other", b"", zipfile.ZIP_STORED, "without data.pkl"),
        ("x/data.pkl", b"0" * 10_000, zipfile.ZIP_DEFLATED, "is not compressed"),
    ):
        with zipfile.ZipFile(buffer := io.BytesIO(), "w", compression) as archive:
            archive.writestr(name, content)
        with pytest.raises(DataError, match=f"cannot be read as a pickle: .*{message}"):
            loaded(buffer.getvalue(), tmp_path)


def test_entries_of_a_zip_file_that_lie_on_each_other(tmp_path: Path) -> None:
    """A thousand names for one megabyte would make a gigabyte."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps([]))
        archive.writestr("x/data/0", b"0" * 1000)
        for i in range(10):
            twin = copy.copy(archive.getinfo("x/data/0"))
            twin.filename = f"x/data/{i + 1}"
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="do not overlap"):
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


def test_a_length_beyond_the_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results\.pkl: cannot be read as a pickle: \w"):
        loaded(b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.", tmp_path)


def test_a_memory_that_jumps_is_not_made(tmp_path: Path) -> None:
    """Python would fill 16 GiB with zeros."""
    with pytest.raises(DataError, match="its memory jumps to number 2147483647"):
        loaded(b"\x80\x02]r\xff\xff\xff\x7f.", tmp_path)
    many = [[i] for i in range(1000)]
    for protocol in (0, 2, 4):
        assert loaded(pickle.dumps(many, protocol), tmp_path) == many
