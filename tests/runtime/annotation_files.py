"""What the tests of annotations share: files as the tools write them, and masks as text."""

import base64
import io
import json
from pathlib import Path

from PIL import Image

from arnet.runtime.annotations import parse_json

SIZE = (4, 6)
PICTURE = Path("a.jpg")
SQUARE = [[1, 1], [4, 1], [4, 3], [1, 3]]
FLAT_SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]
SQUARE_ROWS = ["......", ".###..", ".###..", "......"]


def rows(mask):
    return ["".join({0: ".", 1: "#", 255: "?"}[int(value)] for value in row) for row in mask]


def parse(tmp_path, data, size=SIZE):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    return parse_json(path, PICTURE, size)


def labelme(*shapes, **keys):
    return {"shapes": list(shapes), "imagePath": "..\\a.jpg", "imageData": None, **keys}


def shape(shape_type, points, label="cat", **keys):
    return {"label": label, "shape_type": shape_type, "points": points, **keys}


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
