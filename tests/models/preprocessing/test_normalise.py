import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from models.errors import NothingDrawn
from models.preprocessing import normalise as normalise_module
from models.preprocessing.decode import Picture, decode
from models.preprocessing.normalise import Tile, normalise
from training.data.mnist import Digits


def difference(tile: Tile, expected: np.ndarray) -> float:
    """Mean absolute difference in levels of 255."""
    return float(np.abs(tile.pixels.astype(int) - expected).mean())


@pytest.fixture
def tiles(test_digits: Digits) -> np.ndarray:
    return test_digits.images[:200].numpy()


@pytest.mark.processes
def test_mnist_tiles_are_unchanged_byte_for_byte(test_digits: Digits) -> None:
    images = test_digits.images.numpy()
    results = [normalise(Picture(image)) for image in images]
    same = sum(bool((tile.pixels == image).all()) for tile, image in zip(results, images, strict=True))
    assert same >= 0.999 * len(images)
    assert sum(tile.steps == () for tile in results) >= 0.999 * len(images)


def test_inverted_mnist_is_only_inverted(tiles: np.ndarray) -> None:
    for image in tiles:
        tile = normalise(Picture(255 - image))
        assert (tile.pixels == image).all()
        assert tile.steps == ("inverted",)


def corner(image: np.ndarray) -> np.ndarray:
    canvas = np.full((400, 400), 255, np.uint8)
    canvas[364:392, 8:36] = 255 - image
    return canvas


def enlarged(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC))


def transparent(image: np.ndarray) -> np.ndarray:
    return np.dstack([np.zeros_like(image)] * 3 + [image])


VARIANTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "white ink on nothing": lambda image: np.dstack([np.full_like(image, 255)] * 3 + [image]),
    "black ink on nothing": transparent,
    "blue on white": lambda image: np.dstack([255 - image, 255 - image, np.full_like(image, 255)]),
    "yellow on white": lambda image: np.dstack([np.full_like(image, 255), np.full_like(image, 255), 255 - image]),
    "pale grey on white": lambda image: 255 - image // 5,
    "16 bit": lambda image: image.astype(np.uint16) * 257,
    "in a corner": corner,
    "enlarged": enlarged,
    "enlarged and inverted": lambda image: 255 - enlarged(image),
    "in a wider frame": lambda image: np.pad(image, ((7, 1), (0, 9))),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_an_image_give_the_same_tile(name: str, tiles: np.ndarray, encode: Callable[..., bytes]) -> None:
    different = [difference(normalise(decode(encode(VARIANTS[name](image)))), image) for image in tiles]
    assert np.mean(different) < (10 if "enlarged" in name else 1)


@pytest.mark.parametrize("kind, quality", [("JPEG", 50), ("JPEG", 90), ("WEBP", 50)])
def test_codec_artefacts_around_ink_are_removed(
    kind: str, quality: int, tiles: np.ndarray, encode: Callable[..., bytes]
) -> None:
    different = [difference(normalise(decode(encode(255 - image, kind, quality=quality))), image) for image in tiles]
    assert np.median(different) < 6


def test_thin_strokes_stay_visible() -> None:
    picture = np.full((600, 400), 255, np.uint8)
    picture[60:540, 200:203] = 0
    picture[60:63, 80:203] = 0
    tile = normalise(Picture(picture))
    assert tile.pixels.max() == 255
    assert (tile.pixels > 128).sum() >= 20
    assert "scaled" in tile.steps


def test_the_longer_side_is_20_and_the_centre_of_mass_is_centred(seven: Image.Image) -> None:
    pixels = normalise(Picture(np.asarray(seven))).pixels.astype(float)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    for axis in (0, 1):
        centre = (pixels.sum(axis=1 - axis) * np.arange(28)).sum() / pixels.sum()
        assert abs(centre - 14) <= 0.5


def test_steps_are_listed_in_order(seven: Image.Image, encode: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = normalise(decode(encode(seven.rotate(90), exif=exif)))
    assert turned.steps == ("oriented", "inverted", "cropped", "scaled", "centred")
    upright = normalise(decode(encode(seven)))
    assert np.array_equal(turned.pixels, upright.pixels)


@pytest.mark.parametrize(
    "picture",
    [
        Picture(np.full((28, 28), 255, np.uint8)),
        Picture(np.zeros((28, 28), np.uint8)),
        Picture(np.full((300, 200, 3), 90, np.uint8)),
        Picture(np.zeros((1, 1), np.uint8)),
        Picture(np.zeros((30, 30), np.uint8), np.zeros((30, 30), np.uint8)),
        Picture(np.random.default_rng(0).integers(235, 245, (200, 300)).astype(np.uint8)),
    ],
    ids=["white", "black", "brown", "one pixel", "transparent", "bare paper"],
)
def test_an_empty_picture_is_an_error(picture: Picture) -> None:
    with pytest.raises(NothingDrawn, match="nothing is drawn"):
        normalise(picture)


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (2, 2), (3, 1000), (29, 27)])
def test_any_shape_is_normalised_or_refused(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2 :, shape[1] // 3 :] = 255
    with contextlib.suppress(NothingDrawn):
        assert normalise(Picture(picture)).pixels.shape == (28, 28)


def test_skipping_segmentation_for_ready_tiles_changes_no_result(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    tiles = []
    for _ in range(400):
        tile = np.zeros((28, 28), np.uint8)
        height, width = rng.integers(17, 23), rng.integers(2, 23)
        top, left = (int(np.clip(14 - side // 2 + rng.integers(-3, 4), 0, 28 - side)) for side in (height, width))
        tile[top : top + height, left : left + width] = rng.integers(0, 256, (height, width)) * (rng.random() < 0.9)
        tiles.append(np.rint(tile * rng.choice([1, 1, 0.7])).astype(np.uint8))
    found = [tile_or_error(tile) for tile in tiles]
    together = normalise_module.normalise_all([Picture(tile) for tile in tiles])
    assert found == [NothingDrawn if isinstance(one, NothingDrawn) else contents(one) for one in together]
    assert normalise_module._is_ready(np.stack(tiles)).sum() > 20
    monkeypatch.setattr(normalise_module, "may_be_ready", lambda _: False)
    assert found == [tile_or_error(tile) for tile in tiles]


def tile_or_error(pixels: np.ndarray) -> object:
    try:
        tile = normalise(Picture(pixels))
    except NothingDrawn:
        return NothingDrawn
    return contents(tile)


def contents(tile: Tile) -> object:
    return tile.pixels.tolist(), tile.steps
