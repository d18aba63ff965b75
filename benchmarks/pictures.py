"""The images that servers are asked about, and the request bodies that carry them."""

import base64
import io
import json
from dataclasses import dataclass

from PIL import Image, ImageDraw

from benchmarks.machine import ROOT
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise

SEVEN = ROOT / "docs" / "pictures" / "seven.png"
DIGIT = 0
"""What `tile` and `canvas` show."""
BOUNDARY = "inkling"


@dataclass(frozen=True)
class Body:
    content_type: str
    data: bytes


def canvas() -> bytes:
    """A zero drawn in white on black, as a PNG of 280 x 280 pixels."""
    drawn = Image.new("L", (280, 280), 0)
    ImageDraw.Draw(drawn).ellipse((75, 40, 205, 240), outline=255, width=26)
    return encode(drawn, "PNG")


def tile() -> bytes:
    """The same zero, normalised as in MNIST, as a PNG of 28 x 28 pixels: every server reads it without changes."""
    return encode(Image.fromarray(normalise(decode(canvas())).pixels), "PNG")


def photograph(width: int = 4000, height: int = 3000, quality: int = 90) -> bytes:
    """A seven on a white card, as the 12 megapixel JPEG of a phone."""
    with Image.open(SEVEN) as seven:
        large = seven.convert("RGB").resize((height, height), Image.Resampling.BICUBIC)
    card = Image.new("RGB", (width, height), (255, 255, 255))
    card.paste(large, ((width - height) // 2, 0))
    # A real photograph has grain; without it a JPEG of this size decodes far faster.
    grain = Image.effect_noise((width, height), 12).convert("RGB")
    return encode(Image.blend(card, grain, 0.15), "JPEG", quality=quality)


def encode(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def raw(data: bytes, content_type: str = "image/png") -> Body:
    return Body(content_type, data)


def multipart(*pictures: bytes, field: str = "file") -> Body:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{number}.png"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + picture
        + b"\r\n"
        for number, picture in enumerate(pictures)
    ]
    return Body(f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())


def tensor(picture: bytes) -> Body:
    """A request of the Open Inference Protocol: one encoded picture as a tensor of bytes, which are base64 in JSON."""
    data = [base64.b64encode(picture).decode()]
    described = {"name": "image", "shape": [1], "datatype": "BYTES", "data": data}
    return Body("application/json", json.dumps({"inputs": [described]}).encode())
