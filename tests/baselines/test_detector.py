"""Both detectors: their parts, what they are taught, and what is found in what they say."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ResNetForImageClassification, ViTConfig, ViTModel

from lmmrotate.baselines.backbone import build_backbone, load_backbone_weights
from lmmrotate.baselines.canvas import fitted_wh, on_canvas
from lmmrotate.baselines.coding import centreness, encode_deltas, encode_distances
from lmmrotate.baselines.dataset import DetectionDataset, collate
from lmmrotate.baselines.detector import ARCHITECTURES, Detector
from lmmrotate.baselines.fcos import FcosHead
from lmmrotate.baselines.finding import FindingOptions, find
from lmmrotate.baselines.heads import Head, HeadOutput, Lesson, Targets
from lmmrotate.baselines.losses import focal_loss
from lmmrotate.baselines.pyramid import Pyramid
from lmmrotate.baselines.retinanet import RetinaHead
from lmmrotate.baselines.spec import DetectorSpec, spec_from_json
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.rboxes import RBoxes, rboxes_to_quads, regularize_le90
from lmmrotate.training.manifests import open_training_manifests

ARCHS = tuple(ARCHITECTURES)
CLASSES = ("ship", "plane", "car")


def spec(arch: str, side_px: int = 128, **options: object) -> DetectorSpec:
    settings = {"backbone": "resnet-tiny", "channels": 64, "stacked_convs": 1} | options
    return DetectorSpec(arch=arch, classes=CLASSES, image_square_length=side_px, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arch", "published"), [("rotated_retinanet", 36_641_012), ("rotated_fcos", 32_147_803)]
)
def test_published_parameter_counts(arch: str, published: int) -> None:
    """Of the 15 classes of DOTA-v1.0, as the published notebook counts them."""
    classes = tuple(f"class {n}" for n in range(15))
    detector = Detector(DetectorSpec(arch=arch, classes=classes, image_square_length=1024))
    assert sum(p.numel() for p in detector.parameters()) == published


def says(head: Head, lesson: Lesson) -> HeadOutput:
    """What a head that has learned a lesson by heart would say."""
    taught = torch.tensor(lesson.labels >= 0)
    rows, boxes = taught.nonzero().flatten(), torch.tensor(lesson.boxes, dtype=torch.float32)
    logits = torch.full((1, len(taught), len(CLASSES)), -20.0)
    logits[0, rows, torch.tensor(lesson.labels)[taught]] = 5
    geometry = torch.zeros(1, len(taught), 5)
    quality = None
    if isinstance(head, RetinaHead):
        geometry[0, rows] = encode_deltas(head.anchors[rows], boxes)
    if isinstance(head, FcosHead):
        distances = encode_distances(head.points[rows], boxes)
        geometry[0, rows, :4] = distances / head.strides[rows, None]
        geometry[0, rows, 4] = boxes[:, 4]
        quality = torch.full((1, len(taught)), -20.0)
        quality[0, rows] = torch.logit(centreness(distances), eps=1e-6)
    return HeadOutput(logits, geometry, quality)


OBJECT = st.tuples(
    st.floats(10, 118), st.floats(10, 118), st.floats(18, 100), st.floats(12, 40), st.floats(-2, 2)
)


@pytest.mark.parametrize("arch", ARCHS)
@settings(max_examples=40)
@given(values=st.lists(OBJECT, max_size=6, unique=True))
def test_what_is_taught_can_be_found(arch: str, values: list[tuple[float, ...]]) -> None:
    """Targets, order of the priors, coding and post-processing fit each other."""
    shape = spec(arch)
    boxes: RBoxes = regularize_le90(values) if values else np.empty((0, 5))
    labels = np.arange(len(boxes)) % len(CLASSES)
    lesson = ARCHITECTURES[arch].teach(shape, boxes, labels)
    head = ARCHITECTURES[arch].head(shape)
    output = says(head, lesson)
    found = find(head, output, FindingOptions(score_threshold=0.05, nms_iou=1.0))[0]
    taught = {tuple(box) for box in lesson.boxes.tolist()}
    assert taught or not len(boxes)
    ious = iou_matrix(rboxes_to_quads(boxes), found.quads)
    for number, box in enumerate(boxes.tolist()):
        if tuple(box) in taught:
            assert labels[number] in found.classes[ious[number] > 0.99]
    if len(found.quads):
        assert ious.max(axis=0).min() > 0.99, "nothing else"
    assert (np.diff(found.scores) <= 0).all()

    targets = Targets(torch.tensor(lesson.labels)[None], torch.tensor(lesson.boxes, dtype=torch.float32))
    weights = torch.tensor(lesson.weights)
    losses = head.losses(output, targets, weights)
    assert float(losses["boxes"].detach()) < 1e-3
    assert float(losses["classes"].detach()) < 1e-3


@pytest.mark.parametrize("arch", ARCHS)
def test_doubles_and_unsure_boxes_are_left_out(arch: str) -> None:
    shape = spec(arch)
    boxes = regularize_le90([[40, 40, 50, 20, 0.5], [90, 90, 40, 20, -0.5]])
    lesson = ARCHITECTURES[arch].teach(shape, boxes, np.array([0, 1]))
    head = ARCHITECTURES[arch].head(shape)
    output = says(head, lesson)
    assert len(lesson.boxes) > 2
    found = find(head, output, FindingOptions())[0]
    assert sorted(found.classes.tolist()) == [0, 1]
    assert len(find(head, output, FindingOptions(max_boxes=1))[0].quads) == 1
    assert not len(find(head, output, FindingOptions(score_threshold=0.999))[0].quads)
    broken = HeadOutput(output.logits, output.geometry * math.nan, output.quality)
    assert not len(find(head, broken, FindingOptions())[0].quads)
    if arch == "rotated_fcos":
        flat = HeadOutput(output.logits, output.geometry * torch.tensor([1, 0, 1, 0, 1]), output.quality)
        assert not len(find(head, flat, FindingOptions())[0].quads), "boxes without area"
    for wrong in ({"nms_iou": 1.5}, {"score_threshold": -1}, {"max_boxes": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            FindingOptions(**wrong)  # type: ignore[arg-type]


def test_candidates_are_the_surest_of_every_level() -> None:
    head = ARCHITECTURES["rotated_fcos"].head(spec("rotated_fcos"))
    torch.manual_seed(0)
    rows = sum(head.level_sizes)
    output = HeadOutput(torch.randn(1, rows, 3), torch.rand(1, rows, 5) + 0.5, torch.zeros(1, rows))
    found = find(head, output, FindingOptions(candidates=5, nms_iou=1.0, score_threshold=0))[0]
    expected = []
    for level in output.logits[0].sigmoid().split(head.level_sizes):
        expected += level.flatten().sort(descending=True).values[:5].tolist()
    assert np.allclose(found.scores, sorted((value / 2 for value in expected), reverse=True))


def test_anchors_stay_in_the_image() -> None:
    head = ARCHITECTURES["rotated_retinanet"].head(spec("rotated_retinanet"))
    rows = torch.tensor([0, 1])
    for shift in (-30.0, 30.0):
        found = head.boxes(torch.tensor([[shift, shift, 0, 0, 0]]).repeat(2, 1), rows)
        assert found[:, :2].unique().tolist() == [0.0 if shift < 0 else 127.0]


def test_losses_of_retinanet_by_hand() -> None:
    head = ARCHITECTURES["rotated_retinanet"].head(spec("rotated_retinanet"))
    anchors = head.anchors
    labels = torch.full((1, len(anchors)), -1)  # type: ignore[arg-type]
    labels[0, [3, 7]] = torch.tensor([0, 2])
    labels[0, 8:] = -2
    output = HeadOutput(torch.zeros(1, labels.shape[1], 3), torch.zeros(1, labels.shape[1], 5), None)
    boxes = anchors[[3, 7]].clone()  # type: ignore[index]
    boxes[0, 2] *= math.e  # one away in the logarithm of the longer side
    boxes[1, 4] += 0.25
    losses = head.losses(output, Targets(labels, boxes), torch.tensor([2.0, 4.0]))
    logs = math.log(2) / 4  # -log(1 / 2), (1 / 2)^2
    assert float(losses["classes"]) == pytest.approx((2 * 0.25 + 22 * 0.75) * logs / 2, rel=1e-5)
    assert float(losses["boxes"]) == pytest.approx((1 + 0.25) / 4, rel=1e-5)


def test_losses_of_fcos_by_hand() -> None:
    head = ARCHITECTURES["rotated_fcos"].head(spec("rotated_fcos"))
    labels = torch.full((1, 256 + 64 + 16 + 4 + 1), -1)
    labels[0, [17, 256]] = torch.tensor([1, 0])  # points (12, 12) of stride 8 and (8, 8) of stride 16
    boxes = torch.tensor([[12.0, 12, 16, 8, 0], [12, 8, 16, 8, 0]])
    geometry = torch.zeros(1, labels.shape[1], 5)
    geometry[0, 17, :4] = torch.tensor([1, 0.5, 0, 0.5])  # left half of it
    geometry[0, 256, :4] = torch.tensor([0.25, 0.25, 0.25, 0.25])  # 8 by 8 at (8, 8)
    quality = torch.zeros(1, labels.shape[1])
    output = HeadOutput(torch.zeros(1, labels.shape[1], 3), geometry, quality)
    centre = torch.tensor([1.0, math.sqrt(4 / 12)])
    losses = head.losses(output, Targets(labels, boxes), torch.tensor([2.0, float(centre.sum())]))
    costs = torch.tensor([math.log(2), math.log(2)])  # half of a box: IoU 1/2, and inside it
    assert float(losses["boxes"]) == pytest.approx(float((centre * costs).sum() / centre.sum()), rel=1e-5)
    assert float(losses["centreness"]) == pytest.approx(math.log(2), rel=1e-5)
    logs = math.log(2) / 4
    cells = labels.numel() * 3
    assert float(losses["classes"]) == pytest.approx((2 * 0.25 + (cells - 2) * 0.75) * logs / 2, rel=1e-5)
    said = head([torch.randn(1, 64, side, side) * 100 for side in (16, 8, 4, 2, 1)])
    assert (said.geometry[..., :4] >= 0).all(), "distances are never negative"
    assert (said.geometry[..., 4] < 0).any(), "angles may be"


@pytest.mark.parametrize("arch", ARCHS)
def test_detectors_begin_as_mmdets(arch: str) -> None:
    """Small weights, every class thought to have a chance of 1 %; inputs normalised by ImageNet's numbers."""
    torch.manual_seed(0)
    detector = Detector(spec(arch))
    head = detector.head
    assert torch.allclose(head.class_logits.bias.sigmoid(), torch.tensor(0.01))  # type: ignore[union-attr]
    assert float(head.class_logits.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    seen: list[torch.Tensor] = []
    detector.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    detector.look(torch.full((1, 3, 128, 128), 255, dtype=torch.uint8))
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx(expected, rel=1e-5)


def test_upper_levels_of_the_pyramid() -> None:
    """RetinaNet makes P6 of the backbone's last map, FCOS of P5 and P7 of what is positive in P6."""
    torch.manual_seed(0)
    maps = [torch.randn(1, width, side, side) for width, side in ((4, 32), (8, 16), (8, 8))]
    for extra, conv in (("on_input", 8), ("on_output", 16)):
        pyramid = Pyramid((4, 8, 8), 16, extra)
        levels = pyramid(maps)
        assert [level.shape[-1] for level in levels] == [32, 16, 8, 4, 2]
        assert pyramid.extra[0].weight.shape[1] == conv
        source = maps[-1] if extra == "on_input" else levels[2]
        assert torch.allclose(levels[3], pyramid.extra[0](source))
        last = levels[3] if extra == "on_input" else levels[3].clamp(min=0)
        assert torch.allclose(levels[4], pyramid.extra[1](last))


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.5], [3.0, 3.0]])
    labels = torch.tensor([1, -1, -2])
    sigmoid = torch.sigmoid
    right = 0.25 * (1 - sigmoid(logits[0, 1])) ** 2 * -sigmoid(logits[0, 1]).log()
    wrong = [
        0.75 * sigmoid(x) ** 2 * -(1 - sigmoid(x)).log() for x in (logits[0, 0], logits[1, 0], logits[1, 1])
    ]
    assert float(focal_loss(logits, labels)) == pytest.approx(float(right + sum(wrong)), rel=1e-6)


@pytest.mark.parametrize("arch", ARCHS)
def test_outputs_stand_where_their_priors_are(arch: str) -> None:
    """A bright spot changes what is said about the place where it is."""
    torch.manual_seed(0)
    detector = Detector(spec(arch, stacked_convs=0)).eval()
    places = detector.head.anchors[:, :2] if arch == "rotated_retinanet" else detector.head.points  # type: ignore[union-attr]
    dark = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    for x, y in ((16, 100), (100, 20)):
        bright = dark.clone()
        bright[:, :, y - 4 : y + 4, x - 4 : x + 4] = 255
        with torch.no_grad():
            change = (detector.look(bright).logits - detector.look(dark).logits).abs().sum(-1)[0]
        finest = change[: detector.head.level_sizes[0]]
        centre = (places[: len(finest)] * finest[:, None]).sum(0) / finest.sum()
        assert torch.dist(centre, torch.tensor([float(x), y])) < 40, "and not where x and y change places"


@pytest.mark.parametrize("arch", ARCHS)
def test_frozen_parts_stay(arch: str) -> None:
    detector = Detector(spec(arch))
    detector.freeze(1, norms=True)
    detector.train()
    backbone = detector.backbone
    assert not backbone.embedder.training
    assert not backbone.encoder.stages[0].training
    assert backbone.encoder.stages[1].training
    assert not any(m.training for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
    frozen = {n for n, p in detector.named_parameters() if not p.requires_grad}
    assert frozen == {
        name for name, _ in detector.named_parameters()
        if re.match(r"backbone\.(embedder|encoder\.stages\.0)\.", name)
    }  # fmt: skip
    free = Detector(spec(arch))
    free.freeze(0, norms=False)
    assert all(p.requires_grad for p in free.parameters())
    assert all(m.training for m in free.train().modules())


def torchvision_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Transformers' weights under the names that torchvision's ResNets have."""
    named = {}
    for name, tensor in state.items():
        new = re.sub(r"embedder\.embedder\.convolution", "conv1", name)
        new = re.sub(r"embedder\.embedder\.normalization", "bn1", new)
        new = re.sub(r"encoder\.stages\.(\d)\.layers", lambda m: f"layer{int(m[1]) + 1}", new)
        new = re.sub(r"shortcut\.convolution", "downsample.0", new)
        new = re.sub(r"shortcut\.normalization", "downsample.1", new)
        new = re.sub(r"layer\.(\d)\.convolution", lambda m: f"conv{int(m[1]) + 1}", new)
        new = re.sub(r"layer\.(\d)\.normalization", lambda m: f"bn{int(m[1]) + 1}", new)
        named[new] = tensor
    return named | {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_weights_of_torchvision_and_transformers(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    source, expected = build_backbone(name), {}
    with torch.no_grad():
        for tensor in source.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn_like(tensor))
    expected = source.state_dict()
    theirs = torchvision_names(expected)
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
            "layer4.1.bn2.bias"} <= set(theirs)  # fmt: skip
    torch.save(theirs, tmp_path / "weights.pth")
    save_file({n: t.contiguous() for n, t in theirs.items()}, tmp_path / "weights.safetensors")
    source.save_pretrained(tmp_path / "native")
    for path in ("weights.pth", "weights.safetensors", "native"):
        fresh = build_backbone(name)
        load_backbone_weights(fresh, str(tmp_path / path))
        assert all(torch.equal(fresh.state_dict()[n], tensor) for n, tensor in expected.items())


def test_weights_that_are_part_of_more(tmp_path: Path) -> None:
    """Of a training's checkpoint, and of a classifier of Transformers."""
    torch.manual_seed(0)
    source = build_backbone("resnet-tiny")
    expected = source.state_dict()
    names = {f"module.backbone.{name}": tensor for name, tensor in torchvision_names(expected).items()}
    torch.save({"epoch": 3, "state_dict": names}, tmp_path / "training.pth")
    classifier = ResNetForImageClassification(source.config)
    classifier.resnet.load_state_dict(expected)
    classifier.save_pretrained(tmp_path / "whole")
    for path in ("training.pth", "whole", "whole/model.safetensors"):
        fresh = build_backbone("resnet-tiny")
        load_backbone_weights(fresh, str(tmp_path / path))
        assert all(torch.equal(fresh.state_dict()[n], tensor) for n, tensor in expected.items())


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(torchvision_names(build_backbone("resnet18").state_dict()), tmp_path / "small.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").write_text("")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(torch.nn.ReLU(), tmp_path / "module.pth")
    broken = build_backbone("resnet-tiny").state_dict()
    broken["encoder.stages.0.layers.0.layer.0.convolution.weight"][0] = math.nan
    torch.save(broken, tmp_path / "broken.pth")
    ViTModel(
        ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16)
    ).save_pretrained(tmp_path / "vit")
    build_backbone("resnet-tiny").save_pretrained(tmp_path / "part")
    stored = load_file(tmp_path / "part" / "model.safetensors")
    kept = {name: tensor for name, tensor in stored.items() if "stages.2" not in name}
    save_file(kept, tmp_path / "part" / "model.safetensors", metadata={"format": "pt"})
    for name, message in (
        ("small.pth", "another shape"),
        ("text.pth", "no file of PyTorch's"),
        ("module.pth", "could run code; save the state_dict"),
        ("empty.pth", "cannot be read: EOFError"),
        ("list.pth", "holds no weights by name"),
        ("broken.pth", "layer.0.convolution.weight holds NaN"),
        ("vit", "tensors are missing"),
        ("part", "tensors are missing and 0 have another shape, encoder.stages.2"),
        ("", "neither a file nor a ResNet"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_backbone_weights(build_backbone("resnet-tiny"), str(tmp_path / name))


@pytest.mark.parametrize("wh", [(128, 128), (300, 100), (7, 512), (1, 1), (50, 64)])
def test_images_are_fitted_into_the_square(wh: tuple[int, int]) -> None:
    shape = spec("rotated_fcos", side_px=100)
    assert shape.canvas_px == 128
    pixels = on_canvas(Image.new("RGB", wh, (255, 0, 0)), shape)
    assert pixels.shape == (3, 128, 128)
    width, height = fitted_wh(wh, 100)
    assert max(width, height) == 100
    assert abs(width / height - wh[0] / wh[1]) <= 0.6 * (1 + wh[0] / wh[1])
    red = (pixels == np.array([255, 0, 0], dtype=np.uint8)[:, None, None]).all(axis=0)
    assert red[:height, :width].all()
    assert red.sum() == width * height
    black = on_canvas(Image.new("RGB", wh, (255, 0, 0)), spec("rotated_fcos", side_px=100, padding="black"))
    outside = ~red
    assert (black[:, outside] == 0).all()
    assert np.ptp(pixels[:, outside], axis=1).tolist() == [0, 0, 0]
    assert pixels[:, outside][:, 0].tolist() == [124, 116, 104], "ImageNet's mean: 0 once normalised"


def test_every_part_gets_a_gradient_without_objects() -> None:
    """Processes of a distributed run wait for each other's."""
    for arch in ARCHS:
        detector = Detector(spec(arch))
        lesson = ARCHITECTURES[arch].teach(detector.spec, np.empty((0, 5)), np.empty(0, dtype=np.int64))
        labels = torch.tensor(lesson.labels)[None]
        pixels = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
        loss = detector(pixels, labels, torch.zeros(0, 5), torch.tensor(lesson.weights))["loss"]
        assert torch.isfinite(loss)
        loss.backward()
        assert not [name for name, p in detector.named_parameters() if p.grad is None]


def test_unknown_shapes_are_refused() -> None:
    for wrong, message in (
        ({"arch": "yolo"}, "valid: rotated_retinanet, rotated_fcos"),
        ({"backbone": "vgg"}, "valid: resnet50, resnet18"),
        ({"channels": 80}, "64, 96, 128"),
        ({"channels": 32}, "64, 96, 128"),
        ({"image_square_length": 8}, "from 32 to 8192"),
        ({"image_square_length": 10**6}, "from 32 to 8192"),
        ({"image_square_length": 64.5}, "a whole number, got 64.5"),
        ({"padding": "white"}, "valid: mean, black"),
        ({"classes": ()}, "classes must be names"),
        ({"classes": (1, 2)}, "classes must be names"),
        ({"stacked_convs": -1}, "must not be negative"),
    ):
        settings = {"arch": "rotated_fcos", "classes": CLASSES, "image_square_length": 64} | wrong
        with pytest.raises(ConfigError, match=message):
            DetectorSpec(**settings)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="classes must be a list, got 'ab'"):
        spec_from_json(spec("rotated_fcos").to_json() | {"classes": "ab"})
    with pytest.raises(CheckpointError, match="unknown key colour"):
        spec_from_json(spec("rotated_fcos").to_json() | {"colour": 1})


def test_levels_of_odd_sizes_meet() -> None:
    """13 cells above 7."""
    detector = Detector(spec("rotated_fcos", side_px=416))
    assert detector.spec.grids == (52, 26, 13, 7, 4)
    output = detector.look(torch.zeros(1, 3, 416, 416, dtype=torch.uint8))
    assert output.logits.shape[1] == sum(detector.head.level_sizes)


def test_dataset_and_batch(data: Callable[..., Path]) -> None:
    path = data(counts=(1, 0, 2))
    manifests = open_training_manifests([str(path)], [])
    shape = DetectorSpec(arch="rotated_fcos", classes=manifests[0].classes, image_square_length=128)
    items = [DetectionDataset(manifests, shape)[n] for n in range(3)]
    batch = collate(items)
    assert batch["pixels"].shape == (3, 3, 128, 128)
    assert batch["labels"].shape[0] == 3
    assert len(batch["boxes"]) == int((batch["labels"] >= 0).sum())
    assert float(batch["weights"][0]) == len(batch["boxes"])
    assert not (batch["labels"][1] >= 0).any()
    record = manifests[0][0]
    box = batch["boxes"][0].double().numpy()[None]
    twice = iou_matrix(rboxes_to_quads(box), record.quads * 2)  # 64 px images on a canvas of 128
    assert twice.max() > 0.99
