"""The pictures that servers are asked about, and the bodies that carry them."""

import io
from dataclasses import dataclass

from PIL import Image, ImageDraw

from benchmarks.machine import ROOT
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise

SEVEN = ROOT / "docs" / "pictures" / "seven.png"
DIGIT = 0
"""What the tile shows."""
BOUNDARY = "inkling"


@dataclass(frozen=True)
class Body:
    content_type: str
    data: bytes


def tile() -> bytes:
    """A nought as MNIST would hold it, 28 x 28 with an empty border, as a PNG: every side reads it as it is."""
    drawn = Image.new("L", (280, 280), 0)
    ImageDraw.Draw(drawn).ellipse((75, 40, 205, 240), outline=255, width=26)
    buffer, drawing = io.BytesIO(), io.BytesIO()
    drawn.save(drawing, "PNG")
    Image.fromarray(normalise(decode(drawing.getvalue())).pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photograph(width: int = 4000, height: int = 3000) -> bytes:
    """A seven on a card of 12 megapixels, as the JPEG that a telephone would send."""
    with Image.open(SEVEN) as seven:
        large = seven.convert("RGB").resize((height, height), Image.Resampling.BICUBIC)
    card = Image.new("RGB", (width, height), (255, 255, 255))
    card.paste(large, ((width - height) // 2, 0))
    # Grain, without which a JPEG of this size would be far quicker to decode than a photograph.
    grain = Image.effect_noise((width, height), 12).convert("RGB")
    buffer = io.BytesIO()
    Image.blend(card, grain, 0.15).save(buffer, "JPEG", quality=90)
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
