"""Results as FAIR1M's XML, a file an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lmmrotate.data.formats.fair1m import read_object
from lmmrotate.data.formats.objects import FieldError
from lmmrotate.data.formats.xml_tree import number_of, parse_xml
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.files import files_of
from lmmrotate.evaluation.foreign.joining import Joiner


def read_fair1m(path: Path, manifest: Manifest) -> Predictions:
    """A folder, or a zip, of ``NAME.xml`` whose objects have a ``possibleresult/probability``.

    Raises:
        DataError: naming file and line.
    """
    joiner = Joiner(manifest, path)
    for where, name, content in files_of(path, "*.xml"):
        boxes, labels, scores, places = [], [], [], []
        for element in parse_xml(content, Path(where)).all("object"):
            place = f"{where}:{element.line}"
            try:
                label, corners, _ = read_object(element)
                scores.append(number_of(element, "possibleresult", "probability"))
            except FieldError as error:
                raise DataError(f"{place}: {error.details}") from error
            boxes.append(corners)
            labels.append(joiner.label(label, place))
            places.append(place)
        array = np.array(boxes, dtype=np.float64).reshape(-1, 8)
        joiner.add(joiner.image(name, where), array, labels, scores, places.__getitem__)
    return joiner.predictions()
