"""``lmmrotate predict``: run a model over images or a manifest."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmrotate.assets import TINY
from lmmrotate.cli.common import (
    add_running,
    add_verbosity,
    collector_paused,
    fraction,
    positive_int,
    quiet_transformers,
    show,
    show_json,
)
from lmmrotate.errors import ConfigError
from lmmrotate.runs import RUN_FILE

if TYPE_CHECKING:
    from lmmrotate.inference.batch import BatchResult, Engine
    from lmmrotate.inference.decoding import DecodingOptions
    from lmmrotate.inference.predictor import Finder
    from lmmrotate.inference.scenes import SceneOptions
    from lmmrotate.inference.shares import Share

_DRAWN_SIDE_PX = 6000
_MOST_MESSAGES = 100

log = logging.getLogger("lmmrotate")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "predict",
        allow_abbrev=False,
        help="find objects in images",
        description="Write predictions.jsonl for images or for a manifest. An interrupted call goes on when "
        "the same command is given again. Exit status 1: some images could not be read.",
    )
    parser.add_argument(
        "--model",
        metavar="RUN",
        default=TINY,
        help="run directory, or one of its checkpoints (default: %(default)s, which comes with the package)",
    )
    add_decoding(parser)
    parser.add_argument(
        "--engine",
        choices=("local", "ray", "vllm"),
        default="local",
        help="local: here, or in every process that torchrun or srun starts; ray: on a Ray cluster, or on "
        "this machine where there is none; vllm: chat models by vLLM, on GPUs, in bf16 and without grammar "
        "(default: %(default)s)",
    )
    add_images(parser)
    parser.set_defaults(run=run)


def add_images(parser: argparse.ArgumentParser) -> None:
    """What is looked at and what becomes of it, for this verb and others."""
    parser.add_argument("images", metavar="IMAGE", nargs="*", type=Path, help="image files or folders")
    parser.add_argument("--manifest", type=Path, help="predict the images of this manifest.jsonl instead")
    parser.add_argument(
        "--image_folder", type=Path, help="where the manifest's images are (default: beside it)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("predictions.jsonl"), help="default: %(default)s"
    )
    parser.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="also draw the boxes on copies of the images"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_scenes(parser)
    add_verbosity(parser)


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """How answers are written, for this verb and others."""
    add_running(parser)
    parser.add_argument("--num_beams", type=positive_int, default=1, help="beams (default: 1, greedy)")
    parser.add_argument(
        "--max_new_tokens", type=positive_int, help="longest answer (default: what the model can)"
    )
    parser.add_argument(
        "--grammar",
        choices=("off", "syntax", "classes", "boxes"),
        help="what may be written: off: anything; syntax: what can be read; classes: also classes in order, "
        "each once; boxes: also boxes in order (default: syntax; off with vllm)",
    )
    parser.add_argument(
        "--overflow",
        choices=("split", "keep"),
        default="split",
        help="answers that reach the limit: ask again about four parts of the image, or keep what there is "
        "(default: %(default)s)",
    )


def decoding_options(args: argparse.Namespace) -> DecodingOptions:
    from lmmrotate.inference.decoding import DecodingOptions

    return DecodingOptions(
        num_beams=args.num_beams,
        max_new_tokens=args.max_new_tokens,
        grammar=args.grammar or ("off" if getattr(args, "engine", "") == "vllm" else "syntax"),
        overflow=args.overflow,
    )


def _add_scenes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scenes", "images larger than the model's tiles")
    group.add_argument(
        "--tile",
        metavar="PX",
        default="auto",
        help="side of the tiles that scenes are cut into; off: every image is looked at as a whole; auto: "
        "the model's own side, for images longer than one and a half of it, but not those of a manifest "
        "(default: %(default)s)",
    )
    group.add_argument("--tile_gap", type=int, metavar="PX", help="their overlap (default: a quarter)")
    group.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        help="2: everything twice as large, 0.5: half; several: what is found at all of them is merged",
    )
    group.add_argument(
        "--tta",
        choices=("none", "flips", "all"),
        default="none",
        help="also show every tile mirrored, or mirrored and turned (default: %(default)s)",
    )
    group.add_argument(
        "--bands", type=positive_int, nargs="+", default=[], help="of a raster: one, or red green blue"
    )
    group.add_argument(
        "--merge",
        choices=("nms", "edge", "cluster"),
        default="cluster",
        help="objects that several tiles show: see lmmrotate merge (default: %(default)s)",
    )
    group.add_argument(
        "--merge_iou", type=fraction, default=0.3, help="of boxes that are one (default: %(default)s)"
    )
    group.add_argument(
        "--save_as",
        nargs="+",
        choices=("geojson", "gpkg", "dota", "yolo_obb", "coco"),
        default=[],
        help="also write the detections in these formats",
    )
    group.add_argument(
        "--save_folder", type=Path, help="for them (default: the output's name without its ending)"
    )


def run(args: argparse.Namespace) -> int:
    return predict_with(args, _load)


def _load(args: argparse.Namespace, share: Share) -> tuple[Finder, Any, Engine | None]:
    from lmmrotate.inference.predictor import Predictor, own_device

    options = decoding_options(args)
    if args.engine == "vllm":
        return Predictor.from_run(args.model, torch_dtype="bfloat16", engine="vllm"), options, None
    engine = None
    if args.engine == "ray":
        from lmmrotate.inference.ray_engine import on_ray

        engine = on_ray(args.model, args.device, options)
    device = args.device or own_device(share.local_rank)
    return Predictor.from_run(args.model, device=device), options, engine


def predict_with(
    args: argparse.Namespace, load: Callable[[argparse.Namespace, Share], tuple[Finder, Any, Engine | None]]
) -> int:
    """Find objects in the images that ``args`` names, and write, draw and tell what was found.

    Args:
        load: gives what finds them, its options, and what runs it, if not this process.
    """
    images = _images(args)
    for folder in (args.draw, _save_folder(args) if args.save_as else None):
        if folder:
            _make_folder(folder)  # before the work, not after it
    with collector_paused():
        from lmmrotate.inference.batch import predict_to_file
        from lmmrotate.inference.scenes import predict_scenes_to_file
        from lmmrotate.inference.shares import share_from_environment
        from lmmrotate.inference.sources import FileSource

        quiet_transformers()
        share = share_from_environment()
        predictor, options, engine = load(args, share)
        scene_options = _scene_options(args)
    how: dict[str, Any] = {
        "batch_size": args.batch_size,
        "options": options,
        "share": share,
        "engine": engine,
    }
    if scene_options is not None:
        result = predict_scenes_to_file(predictor, images, args.output, scene_options, **how)
    else:
        work = [(name, FileSource(path)) for name, path in images]
        result = predict_to_file(predictor, work, args.output, **how)
    different = list(dict.fromkeys(result.unreadable))  # all tiles of a damaged scene may say the same
    for message in different[:_MOST_MESSAGES]:
        log.error("skipped: %s", message)
    if len(different) > _MOST_MESSAGES:
        log.error("… and %d more", len(different) - _MOST_MESSAGES)
    saved = _save(args, dict(images)) if args.save_as and result.finished else []
    drawn = (
        draw_predictions(args.output, dict(images), args.draw, args.bands)
        if args.draw and result.finished
        else 0
    )
    if args.json:
        show_json(vars(result) | {"drawn": drawn, "saved": saved})
    else:
        _tell(result, share, "images" if scene_options is None else "tiles")
        if args.draw and result.finished:
            show(f"{args.draw}: {drawn} pictures")
        for path in saved:
            show(str(path))
    return 1 if result.unreadable else 0


def _tell(result: BatchResult, share: Share, unit: str) -> None:
    taken = f", {result.resumed} taken over from an earlier call" if result.resumed else ""
    speed = f" ({result.predicted / result.seconds:.1f} a second)" if result.predicted else ""
    who = (
        f"{result.path}: " if share.count == 1 else f"{result.path}: process {share.rank} of {share.count}: "
    )
    left = "" if result.finished else "; others are still at work"
    unreadable = f"{len(result.unreadable)} unreadable"
    show(f"{who}{result.predicted} {unit} predicted{speed}{taken}, {unreadable}{left}")


def _scene_options(args: argparse.Namespace) -> SceneOptions | None:
    """How to cut scenes; None if every image is looked at as a whole."""
    from lmmrotate.inference.scenes import SceneOptions

    if args.tile == "off" or (args.manifest and args.tile == "auto"):
        return None
    if args.tile != "auto" and not args.tile.isdecimal():
        raise ConfigError(f"--tile is {args.tile!r}; valid: auto, off, or a side in pixels")
    return SceneOptions(
        tile_px=None if args.tile == "auto" else int(args.tile),
        gap_px=args.tile_gap,
        scales=tuple(args.scales),
        tta=args.tta,
        bands=tuple(args.bands),
        merge=args.merge,
        merge_iou=args.merge_iou,
    )


def _save_folder(args: argparse.Namespace) -> Path:
    return Path(args.save_folder or args.output.with_suffix(""))


def _save(args: argparse.Namespace, paths: dict[str, Path]) -> list[Path]:
    from lmmrotate.data.detection_files import write_detections
    from lmmrotate.data.predictions import read_predictions
    from lmmrotate.data.rasters import georeference_of

    predictions = read_predictions(args.output)
    places = {p.image: georeference_of(paths[p.image]) for p in predictions.images}
    known = {image: place for image, place in places.items() if place is not None}
    return write_detections(predictions, _save_folder(args), args.save_as, known)


def _images(args: argparse.Namespace) -> list[tuple[str, Path]]:
    from lmmrotate.data.images import find_images
    from lmmrotate.data.manifest import read_manifest

    if args.manifest and args.images:
        raise ConfigError("give images or --manifest, not both")
    if args.manifest:
        manifest = read_manifest(args.manifest, args.image_folder)
        return [(record.image, manifest.image_path(record)) for record in manifest.records]
    if not args.images:
        raise ConfigError("nothing to predict: give image files or folders, or --manifest")
    for folder in args.images:
        if (folder / RUN_FILE).exists():
            raise ConfigError(f"{folder}: is a run directory, not a folder of images; give it as --model")
    return [(path.as_posix(), path) for path in find_images(args.images)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--draw: {folder} cannot be made: {error.strerror}") from error


def draw_predictions(
    predictions_path: Path, paths: dict[str, Path], folder: Path, bands: Sequence[int] = ()
) -> int:
    """Draw the boxes of a predictions file on copies of its images, those of large ones on smaller copies.

    Returns:
        How many pictures.
    """
    from PIL import Image

    from lmmrotate.data.jsonl import replacing
    from lmmrotate.data.predictions import read_predictions
    from lmmrotate.data.rasters import overview
    from lmmrotate.report.draw import draw_boxes
    from lmmrotate.report.palette import class_colours

    predictions = read_predictions(predictions_path)
    for number, prediction in enumerate(predictions.images):
        copy = Image.fromarray(overview(paths[prediction.image], _DRAWN_SIDE_PX, bands))
        picture = draw_boxes(
            copy,
            prediction.quads * (copy.width / prediction.width, copy.height / prediction.height),
            prediction.labels,
            prediction.scores,
            colours=class_colours(predictions.header.classes),
        )
        with replacing(folder / f"{number:06d}_{Path(prediction.image).stem}.png") as file:
            picture.save(file, format="PNG")
    return len(predictions.images)
