"""Images in, detections out."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image

from lmmrotate.assets import TINY, model_path
from lmmrotate.codec.base import BoxCodec, Decoded
from lmmrotate.codec.registry import codec_from_json
from lmmrotate.codec.shown import as_shown
from lmmrotate.data.images import read_image, to_rgb
from lmmrotate.data.predictions import PredictionsHeader
from lmmrotate.data.records import Prediction
from lmmrotate.errors import CheckpointError, ConfigError, Problem, first_line
from lmmrotate.inference.calibration import ScoreCalibration, read_calibration
from lmmrotate.inference.decoding import Answer, DecodingOptions, Writer
from lmmrotate.inference.overflow import MOST_SPLITS, can_split, joined, quarters
from lmmrotate.inference.scores import DEFAULT_FORMULA, FORMULAS, Evidence, evidence_of
from lmmrotate.inference.vllm_writer import VllmWriter, start_engine
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.loading import load_family
from lmmrotate.runs import RUN_FILE, RunInfo, read_run, weights_digest

DEFAULT = DecodingOptions()

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
DEVICES = ("cpu", "cuda", "mps", "xpu")

Module = TypeVar("Module", bound=torch.nn.Module)
ImageInput = str | Path | Image.Image | np.ndarray


class Finder(Protocol):
    """Whatever finds oriented objects in pictures; what batches, scenes and validation need of it."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def tile_px(self) -> int:
        """Side in pixels of the square tiles that the model is made for."""
        ...

    @property
    def header(self) -> PredictionsHeader:
        """The header of a predictions file, without the options."""
        ...

    def check_shape(self, wh: tuple[int, int]) -> None:
        """Raises DataError for the width and height of an image that the model cannot be shown."""
        ...

    def predict_pictures(
        self, names: Sequence[str], pictures: Sequence[Image.Image], options: Any
    ) -> list[Prediction]:
        """One batch of RGB images that are already in memory; ``options`` are those of its kind, a
        dataclass."""
        ...


class Predictor:
    """A fine-tuned model that finds oriented objects in images of its own tile size.

    Example:
        >>> predictor = Predictor.from_run("runs/harbours")  # doctest: +SKIP
        >>> predictions = predictor.predict(["port.png"])    # doctest: +SKIP
        >>> predictions[0].labels, predictions[0].scores     # doctest: +SKIP
    """

    def __init__(
        self,
        family: ModelFamily,
        codec: BoxCodec,
        info: RunInfo,
        calibration: ScoreCalibration | None = None,
        numerics: Mapping[str, str] | None = None,
        vllm: Any = None,
    ) -> None:
        """
        Args:
            calibration: what makes probabilities of the scores; default: the scores of ``DEFAULT_FORMULA``.
            numerics: how numbers are computed, for the header of predictions.
            vllm: what writes the answers, if not the family's own model (``vllm_writer.start_engine``).
        """
        self._vllm = vllm
        self._family = family
        self._codec = as_shown(codec, family.shown_wh)
        self._info = info
        self._calibration = calibration
        self._writers: dict[DecodingOptions, Writer | VllmWriter] = {}
        self._numerics = dict(numerics or {})

    @classmethod
    def from_run(
        cls,
        run: str | Path = TINY,
        *,
        device: str | None = None,
        torch_dtype: str = "float32",
        attn_implementation: str = "sdpa",
        engine: Literal["local", "vllm"] = "local",
    ) -> Predictor:
        """Load a run directory or one of its checkpoints.

        Args:
            run: the folder, or the hub id (owner/name) of one that was uploaded; default: ``tiny``, the model
                that comes with the package.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; default: a GPU where there is one.
            torch_dtype: one of ``DTYPES``; halves are for GPUs (on a CPU they are slower).
            attn_implementation: one of ``models.loading.ATTENTION``.
            engine: what writes answers: this process, or vLLM (on GPUs, chat models only).

        Raises:
            CheckpointError: if ``run`` is not a complete run directory.
            ConfigError: if the device does not exist, or for a dtype or attention that is unknown.
        """
        if torch_dtype not in DTYPES:
            raise ConfigError(f"torch_dtype is {torch_dtype!r}; valid: {', '.join(DTYPES)}")
        folder = local_run(run)
        info = read_run(folder)
        if info.detector:
            raise CheckpointError(
                f"{folder}: holds a baseline detector, which does not write: use lmmrotate baseline predict"
            )
        try:
            codec = codec_from_json(info.codec)
        except CheckpointError as error:
            raise CheckpointError(f"{folder / RUN_FILE}: {error}") from error
        # Of the file as it is: weights that were exchanged must not pass for those of the training.
        info = replace(info, weights=weights_digest(folder))
        family = load_family(
            str(folder),
            tokens=codec.special_tokens,
            prompt=info.prompt,
            system_prompt=info.system_prompt,
            attn_implementation=attn_implementation,
            weights=engine == "local",
        )
        numerics = {"torch_dtype": torch_dtype, "attn_implementation": attn_implementation}
        if engine == "vllm":
            family.serving_prompt()  # refuses before anything is started
            vllm = start_engine(folder, torch_dtype)
            numerics = {"torch_dtype": torch_dtype, "engine": "vllm"}
            return cls(family, codec, info, read_calibration(folder), numerics, vllm)
        on_device(family.model, device, DTYPES[torch_dtype])
        return cls(family, codec, info, read_calibration(folder), numerics)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._codec.classes

    @property
    def tile_px(self) -> int:
        """Side in pixels of the square tiles that the model is made for."""
        return self._info.image_square_length

    @property
    def header(self) -> PredictionsHeader:
        """The header of a predictions file written by this model, without the options of decoding."""
        score = self._calibration.identity if self._calibration else DEFAULT_FORMULA
        settings = {**about_model(self._family.model, self._info), "score": score, **self._numerics}
        return PredictionsHeader(self._codec.classes, self._info.fingerprint, self._codec.name, settings)

    def check_shape(self, wh: tuple[int, int]) -> None:
        """Raises DataError for the width and height of an image that the model cannot be shown."""
        self._family.shown_wh(wh)

    def predict(
        self, images: Sequence[ImageInput], *, batch_size: int = 8, options: DecodingOptions = DEFAULT
    ) -> list[Prediction]:
        """Find the objects of every image, in order.

        Args:
            images: paths, PIL images of any mode, or arrays (H, W), (H, W, 3) or (H, W, 4) of uint8 or
                uint16. Arrays and PIL images are named by their position, ``0``, ``1``, ….
            batch_size: images a forward pass.
            options: how answers are written.

        Raises:
            DataError: naming the first image that cannot be read.
            ConfigError: for a lone path, or a batch size below 1.
        """
        if isinstance(images, (str, Path, Image.Image)):
            raise ConfigError("predict takes a list of images; put a single one in brackets")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        predictions: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            pictures = [as_picture(image) for image in chunk]
            names = [_name(image, start + offset) for offset, image in enumerate(chunk)]
            predictions += self.predict_pictures(names, pictures, options)
        return predictions

    def predict_pictures(
        self, names: Sequence[str], pictures: Sequence[Image.Image], options: DecodingOptions = DEFAULT
    ) -> list[Prediction]:
        """One batch of RGB images that are already in memory."""
        return self._predict(names, pictures, options, splits=0)

    def evidence(
        self, pictures: Sequence[Image.Image], options: DecodingOptions = DEFAULT
    ) -> list[tuple[Decoded, Evidence]]:
        """The boxes of one batch of RGB images, with what scores can be made of; images are never split."""
        read = [self._read(*one) for one in zip(pictures, self._writer(options).write(pictures), strict=True)]
        return [(decoded, evidence) for decoded, evidence, _ in read]

    def _writer(self, options: DecodingOptions) -> Writer | VllmWriter:
        if options not in self._writers:
            about = (self._family, self._codec.form, options)
            self._writers[options] = Writer(*about) if self._vllm is None else VllmWriter(*about, self._vllm)
        return self._writers[options]

    def _read(self, picture: Image.Image, answer: Answer) -> tuple[Decoded, Evidence, tuple[Problem, ...]]:
        decoded = self._codec.decode(answer.text, picture.size)
        repeated = (Problem("repetition", answer.repetition),) if answer.repetition else ()
        evidence = evidence_of(answer, decoded.spans, self._codec, picture.size)
        return decoded, evidence, (*decoded.problems, *repeated)

    def _predict(
        self, names: Sequence[str], pictures: Sequence[Image.Image], options: DecodingOptions, splits: int
    ) -> list[Prediction]:
        begin = time.perf_counter()
        answers = self._writer(options).write(pictures)
        predictions: list[Prediction] = []
        for name, picture, answer in zip(names, pictures, answers, strict=True):
            decoded, evidence, problems = self._read(picture, answer)
            predictions.append(
                Prediction(
                    image=name,
                    width=picture.width,
                    height=picture.height,
                    text=answer.text,
                    quads=decoded.quads,
                    labels=decoded.labels,
                    scores=self._scores(evidence),
                    problems=problems,
                    truncated=answer.truncated,
                )
            )
        if options.overflow == "split" and splits < MOST_SPLITS:
            predictions = [
                self._split(prediction, picture, options, splits) if prediction.truncated else prediction
                for prediction, picture in zip(predictions, pictures, strict=True)
            ]
        seconds = (time.perf_counter() - begin) / max(1, len(pictures))
        return [replace(prediction, seconds=seconds) for prediction in predictions]

    def _split(
        self, prediction: Prediction, picture: Image.Image, options: DecodingOptions, splits: int
    ) -> Prediction:
        """The image asked about in four parts; its own answer stands as the text."""
        if not can_split(picture):
            return prediction
        boxes, parts = zip(*quarters(picture), strict=True)
        names = [f"{prediction.image} part {number}" for number in range(1, 5)]
        found = joined(self.header, prediction.image, boxes, self._predict(names, parts, options, splits + 1))
        split = Problem("split_in_four", "the answer reached the token limit")
        return replace(found, text=prediction.text, problems=(split, *found.problems))

    def _scores(self, evidence: Evidence) -> tuple[float, ...]:
        formula = self._calibration.formula if self._calibration else DEFAULT_FORMULA
        scores = FORMULAS[formula](evidence)
        calibrated = self._calibration.apply(scores) if self._calibration else scores
        return tuple(np.clip(calibrated, 0.0, 1.0).tolist())


def local_run(run: str | Path) -> Path:
    """The folder of a run; one on the hub is downloaded first."""
    folder = model_path(run)
    if folder.exists() or not isinstance(run, str) or not _HUB_ID.fullmatch(run):
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(run, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{run}: no such run directory, and not found on the hub: {first}") from error


def about_model(model: torch.nn.Module, info: RunInfo) -> dict[str, Any]:
    """What a predictions file says about the size and the training of what found them."""
    trained = {"trained_seconds": info.trained_seconds} if info.trained_seconds else {}
    return {"parameters": sum(p.numel() for p in model.parameters()), **trained}


def on_device(module: Module, device: str | None, dtype: torch.dtype | None = None) -> Module:
    """The module, moved to a device; default: a GPU where there is one.

    Raises:
        ConfigError: if the device does not exist.
    """
    if device and device.split(":")[0] not in DEVICES:
        raise ConfigError(f"device is {device!r}; valid: {', '.join(DEVICES)}, with a number as in cuda:1")
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return module.to(device=name, dtype=dtype)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used: {first_line(error)}") from error


def own_device(local_rank: int) -> str | None:
    """The device of one of several processes on a machine: GPUs in turn; None where there is none."""
    count = torch.cuda.device_count()
    return f"cuda:{local_rank % count}" if count else None


def as_picture(image: ImageInput) -> Image.Image:
    """The image in memory, RGB. Raises DataError if it cannot be read."""
    return read_image(Path(image), still=True) if isinstance(image, (str, Path)) else to_rgb(image)


def _name(image: ImageInput, position: int) -> str:
    return Path(image).as_posix() if isinstance(image, (str, Path)) else str(position)
