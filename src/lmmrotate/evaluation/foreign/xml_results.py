"""Results as FAIR1M's XML, a file an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from lmmrotate.data.formats.fair1m import read_object
from lmmrotate.data.formats.objects import FieldError
from lmmrotate.data.formats.xml_tree import Element, number_of, parse_xml, read_xml
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.archives import members
from lmmrotate.evaluation.foreign.joining import Joiner


def read_fair1m(path: Path, manifest: Manifest) -> Predictions:
    """A folder, or a zip, of ``NAME.xml`` whose objects have a ``possibleresult/probability``.

    Raises:
        DataError: naming file and line.
    """
    joiner = Joiner(manifest, path)
    for where, name, root in _roots(path):
        quads, labels, scores = [], [], []
        for element in root.all("object"):
            place = f"{where}:{element.line}"
            try:
                label, corners, _ = read_object(element)
                scores.append(number_of(element, "possibleresult", "probability"))
            except FieldError as error:
                raise DataError(f"{place}: {error.details}") from error
            quads.append(np.array(corners).reshape(4, 2))
            labels.append(joiner.label(label, place))
        boxes = np.stack(quads) if quads else np.empty((0, 4, 2))
        joiner.add(joiner.image(PurePosixPath(name).stem, where), boxes, labels, scores, where)
    return joiner.predictions()


def _roots(path: Path) -> Iterator[tuple[str, str, Element]]:
    if path.is_dir():
        for file in sorted(path.glob("*.xml")):
            yield str(file), file.name, read_xml(file)
    else:
        for name, content in members(path, ".xml"):
            yield f"{path}: {name}", name, parse_xml(content, Path(f"{path}: {name}"))
