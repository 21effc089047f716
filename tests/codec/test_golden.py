"""Answers equal to those recorded from the published code: golden a (writing) and b (reading)."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmmrotate.codec.labels import SpokenLabels
from lmmrotate.codec.loc_tokens import LocTokenCodec, corner_order
from lmmrotate.codec.quantize import dequantize, quantize
from lmmrotate.data.catalog import dataset_spec

Golden = Callable[[str], Path]
pytestmark = pytest.mark.golden
CASES = [(case, version) for case in range(4) for version in (1, 2, 3)]


def load(golden: Golden, name: str) -> Any:
    return _parsed(golden(name))


@cache
def _parsed(path: Path) -> Any:
    return json.loads(path.read_text())


def whole_numbers(polygon: list[float]) -> bool:
    """Whether the annotation was written in integers, which the published code divides in float32."""
    return all(isinstance(value, int) for value in polygon)


@pytest.mark.parametrize(("case", "version"), CASES)
def test_answers_are_bit_equal(golden: Golden, case: int, version: int) -> None:
    recorded = load(golden, "a_response_encoding.json")["encode"][case]
    if "error" in recorded[f"v{version}"]:
        # The published converter's statistics fail on an empty list, after it has written no answer.
        assert not recorded["input"]["annotations"]
        expected = {}
    else:
        expected = {row["id"]: row["response"] for row in recorded[f"v{version}"]}
    names = {c["id"]: c["name"] for c in recorded["input"]["categories"]}
    # One case has classes that are spoken alike, which only the compatible codec accepts.
    codec = LocTokenCodec(tuple(names.values()), response_version=version, compatible=True)
    for image in recorded["input"]["images"]:
        objects = [o for o in recorded["input"]["annotations"] if o["image_id"] == image["id"]]
        polygons = [o["segmentation"][0] for o in objects]
        answer = codec.encode(
            np.asarray(polygons, dtype=np.float64).reshape(-1, 4, 2),
            [names[o["category_id"]] for o in objects],
            (image["width"], image["height"]),
            single_precision=np.array([whole_numbers(p) for p in polygons], dtype=np.bool_),
        )
        assert answer == expected.get(image["id"], "")


def test_corner_orders_and_bins(golden: Golden) -> None:
    recorded = load(golden, "a_response_encoding.json")["polygons"]
    assert len(recorded) == 500
    for row in recorded:
        quad = np.asarray(row["polygon"], dtype=np.float64).reshape(1, 4, 2)
        wh = (row["width"], row["height"])
        ordered = corner_order(quad)[0]
        assert ordered.tolist() == row["normalized_ccw"]
        bins = quantize(ordered, wh, single_precision=whole_numbers(row["polygon"]))
        assert bins.reshape(-1).tolist() == row["quantized"]
        np.testing.assert_allclose(dequantize(bins, wh).reshape(-1), row["dequantized_float32"], rtol=2e-7)


def test_integer_coordinates_divide_in_single_precision(golden: Golden) -> None:
    for row in load(golden, "a_response_encoding.json")["int_vs_float_quantisation"]:
        x = np.asarray(row["x_where_they_differ"], dtype=np.float64)
        points = np.stack([x, x], axis=1)
        wh = (row["size"], row["size"])
        assert quantize(points, wh, single_precision=True)[:, 0].tolist() == row["int64_input_bins"]
        assert quantize(points, wh)[:, 0].tolist() == row["float64_input_bins"]
        every = np.repeat(np.arange(row["n_x_checked"], dtype=np.float64)[:, None], 2, axis=1)
        assert quantize(every, wh, single_precision=True)[:, 0].sum() == row["all_int64_bins_sum"]
        assert quantize(every, wh)[:, 0].sum() == row["all_float64_bins_sum"]


@pytest.mark.parametrize("index", range(305))
def test_compatible_reading_equals_the_recorded(golden: Golden, index: int) -> None:
    recorded = load(golden, "b_response_decoding.json")
    case = recorded["decode"][index]
    names = list(recorded["class_maps"][case["class_list"]])
    decoded = LocTokenCodec(tuple(names), compatible=True).decode(case["text"], tuple(case["image_size_wh"]))
    assert [names.index(label) for label in decoded.labels] == [int(label) for label in case["labels"]]
    assert len(decoded.quads) == case["n"]
    # The recorded boxes, split as the published evaluation splits them, and their float32 rectangles.
    flat = [
        polygon[start : start + 8]
        for label, instance in zip(case["parsed"]["labels"], case["parsed"]["polygons"], strict=True)
        for polygon in instance
        for start in ((0, 8) if len(polygon) == 16 else (0,))
        if len(polygon) >= 8 and label
    ]
    np.testing.assert_allclose(decoded.quads.reshape(-1, 8), np.reshape(flat, (-1, 8)), rtol=2e-6, atol=1e-4)
    for quad, (cx, cy, w, h, angle) in zip(decoded.quads, case["rbox"], strict=True):
        # Which of several rectangles OpenCV calls the smallest differs between its versions; that the
        # recorded one encloses our corners, touching every side, does not.
        cos, sin = np.cos(angle), np.sin(angle)
        along = (quad - (cx, cy)) @ np.array([[cos, -sin], [sin, cos]])
        np.testing.assert_allclose(along.max(axis=0), (w / 2, h / 2), rtol=1e-3, atol=2e-2)
        np.testing.assert_allclose(along.min(axis=0), (-w / 2, -h / 2), rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("index", range(74))
def test_nearest_class_equals_the_recorded(golden: Golden, index: int) -> None:
    recorded = load(golden, "b_response_decoding.json")
    case = recorded["fuzzy"][index]
    for name, mapping in recorded["class_maps"].items():
        match = SpokenLabels(tuple(mapping), compatible=True).match(case["label"])
        found = case[name]
        assert (match.name if match else None) == found["match"]
        if match:
            assert match.exact == found["exact"]


@pytest.mark.parametrize(
    ("spec", "list_name"),
    [("dota_v1", "dota"), ("dior_r", "dior"), ("srsdd", "srsdd"), ("rsar", "rsar")],
)
def test_catalog_is_spoken_as_recorded(golden: Golden, spec: str, list_name: str) -> None:
    mapping = load(golden, "b_response_decoding.json")["class_maps"][list_name]
    assert SpokenLabels(dataset_spec(spec).classes).words == tuple(mapping)
