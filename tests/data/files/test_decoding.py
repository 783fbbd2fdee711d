"""Every kind of image file becomes upright uint8 pixels, or an error with a reason."""

import io
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import jaxvision
from jaxvision.data.feed.crops import Box
from jaxvision.data.feed.jpeg import decode_box
from jaxvision.data.files import decoding
from jaxvision.data.files.decoding import (
    DecodeError,
    decode,
    inspect,
    numbers,
    size,
)
from jaxvision.errors import UsageError

RGB = (np.mgrid[0:6, 0:8].sum(0)[..., None] * [18, 9, 4] + [0, 40, 90]).astype(np.uint8)
GREY = RGB[..., 0]
RED, WHITE = [255, 0, 0], [255, 255, 255]


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def whole_image(height: int, width: int) -> Box:
    return Box(0, 0, height, width)


@pytest.fixture
def shape_of(tmp_path):
    """What `inspect` says of a file with this content, and `size` no less."""

    def shape(encoded: bytes) -> tuple[int, int, int]:
        (tmp_path / "image").write_bytes(encoded)
        found = inspect(tmp_path / "image")
        assert size(encoded) == found[:2]
        return found

    return shape


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF"])
def test_lossless_colour_is_exact(form, shape_of):
    image = np.where(RGB > 80, 255, 0).astype(np.uint8)  # few colours, for the palette
    encoded = encode(image, form, **{"lossless": True} if form == "WEBP" else {})
    np.testing.assert_array_equal(decode(encoded, 3), image)
    assert shape_of(encoded) == (6, 8, 3)


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "GIF"])
def test_lossless_greyscale_is_exact_in_one_channel_and_in_three(form, shape_of):
    encoded = encode(GREY, form)
    np.testing.assert_array_equal(decode(encoded, 1)[..., 0], GREY)
    np.testing.assert_array_equal(decode(encoded, 3), np.dstack([GREY] * 3))
    palette = form == "GIF"  # which counts as colour
    assert shape_of(encoded) == (6, 8, 3 if palette else 1)


def test_jpeg(shape_of):
    encoded = encode(RGB, "JPEG", quality=100, subsampling=0)
    np.testing.assert_allclose(decode(encoded, 3), RGB, atol=4)
    assert shape_of(encoded) == (6, 8, 3)
    assert shape_of(encode(GREY, "JPEG")) == (6, 8, 1)


def test_what_comes_out_is_contiguous_writable_and_of_bytes():
    for channels in (1, 3):
        image = decode(encode(RGB, "JPEG", exif=exif(6)), channels)
        assert image.dtype == np.uint8
        assert image.shape == (8, 6, channels)
        assert image.flags.c_contiguous
        image[0] = 0


def test_one_channel_of_colour_is_luma():
    image = np.full((2, 2, 3), [200, 100, 50], np.uint8)
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert (decode(encode(image), 1) == luma).all()


def test_cmyk_jpeg_is_not_inverted(shape_of):
    # Pillow writes what Adobe does: the inks inverted, with a marker that says so.
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    encoded = encode(red, "JPEG", quality=100)
    assert b"Adobe" in encoded
    np.testing.assert_allclose(decode(encoded, 3)[4, 4], RED, atol=4)
    assert shape_of(encoded) == (8, 8, 3)
    assert decode(encode(red, "TIFF"), 3)[4, 4].tolist() == RED


def test_transparent_pixels_are_laid_over_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[0, :, 3] = [0, 128, 255]
    for form in ("PNG", "TIFF"):
        image = decode(encode(rgba, form), 3)[0]
        assert image[0].tolist() == WHITE
        np.testing.assert_allclose(image[1], [255, 127, 127], atol=1)
        assert image[2].tolist() == RED


def test_a_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 0, 0, 255])
    image.putpixel((1, 0), 1)
    for form in ("PNG", "GIF"):
        assert decode(encode(image, form, transparency=1), 3)[0].tolist() == [
            RED,
            WHITE,
        ]
        assert decode(encode(image, form), 3)[0].tolist() == [RED, [0, 0, 255]]


def test_greyscale_with_transparency(shape_of):
    pixels = Image.merge("LA", [Image.new("L", (2, 2), 40), Image.new("L", (2, 2), 0)])
    encoded = encode(pixels)
    assert (decode(encoded, 1) == 255).all()
    assert shape_of(encoded) == (2, 2, 1)


def test_a_transparent_colour_without_an_alpha_channel_is_white():
    for mode, colour in (("RGB", (9, 8, 7)), ("L", 9), ("1", 0)):
        encoded = encode(Image.new(mode, (2, 2), colour), transparency=colour)
        assert (decode(encoded, 3) == 255).all(), mode


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(form, orientation, shape_of):
    """The bright corner comes to stand where the tag says that it was seen."""
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, :8] = 255  # at row 0, column 0
    encoded = encode(stored, form, exif=exif(orientation))
    image = decode(encoded, 3)
    # EXIF 2.3, section 4.6.4: where the 0th row and the 0th column are on view.
    row, column = {
        1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0),
        5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0),
    }[orientation]  # fmt: skip
    assert image.shape == ((24, 16, 3) if orientation >= 5 else (16, 24, 3))
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]].mean(-1).reshape(2, 2)
    assert corners[row, column] > 200
    assert (corners > 200).sum() == 1
    assert shape_of(encoded) == image.shape


@pytest.mark.parametrize("orientation", [5, 7])
def test_transposed_images_are_not_merely_rotated(orientation):
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, 8:16] = 255  # along the 0th row
    image = decode(encode(stored, exif=exif(orientation)), 3)
    want = (
        stored.swapaxes(0, 1) if orientation == 5 else stored[::-1, ::-1].swapaxes(0, 1)
    )
    np.testing.assert_array_equal(image, want)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_lose_the_image():
    encoded = encode(RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert decode(encoded, 3).shape == (6, 8, 3)


def test_sixteen_bits_keep_their_high_byte(shape_of):
    wide = (GREY.astype(np.uint16) << 8) + 255
    for form in ("PNG", "TIFF"):
        encoded = encode(wide, form)
        np.testing.assert_array_equal(decode(encoded, 1)[..., 0], GREY)
        np.testing.assert_array_equal(decode(encoded, 3), np.dstack([GREY] * 3))
        assert shape_of(encoded) == (6, 8, 1)


def test_pgm_of_sixteen_bits_and_plain():
    pixels = (GREY.astype(np.uint16) << 8).astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(b"P5\n8 6\n65535\n" + pixels, 1)[..., 0], GREY)
    assert decode(b"P2\n2 1\n255\n7 9\n", 1).ravel().tolist() == [7, 9]


def test_colour_of_sixteen_bits():
    """Pillow does not write it: one red pixel, put together by hand."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    encoded = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">HHH", 65535, 300, 5)))
        + chunk(b"IEND", b"")
    )
    assert decode(encoded, 3).ravel().tolist() == [255, 1, 0]


def test_one_bit_is_black_and_white(shape_of):
    encoded = encode(Image.fromarray(GREY > 100))
    np.testing.assert_array_equal(decode(encoded, 1)[..., 0], (GREY > 100) * 255)
    assert shape_of(encoded) == (6, 8, 1)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_counts(form):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue", "green")]
    encoded = encode(frames[0], form, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(encoded, 3)[2, 2], RED, atol=8)


def test_pixels_of_32_bits_are_refused(shape_of):
    encoded = encode(np.ones((2, 2), np.float32), "TIFF")
    for read in (lambda: decode(encoded, 3), lambda: shape_of(encoded)):
        with pytest.raises(DecodeError, match="32 bits"):
            read()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_noticed(form, share, shape_of):
    rng = np.random.default_rng(0)
    whole = encode(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), form)
    part = whole[: int(share * len(whole))]
    for read in (lambda: decode(part, 3), lambda: shape_of(part)):
        with pytest.raises(DecodeError) as caught:
            read()
        assert str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff\xd8\xff"])
def test_what_is_no_image(content, shape_of):
    for read in (lambda: decode(content, 3), lambda: shape_of(content)):
        with pytest.raises(
            DecodeError, match="empty" if not content else "not an image"
        ):
            read()


def test_bytes_after_the_end_are_harmless(shape_of):
    for form in ("JPEG", "PNG"):
        encoded = encode(RGB, form) + b"\0" * 10
        assert decode(encoded, 3).shape == shape_of(encoded) == (6, 8, 3)


def test_damage_between_header_and_end_is_left_to_decoding(shape_of):
    encoded = encode(RGB)
    start = encoded.index(b"IDAT") + 6
    broken = encoded[:start] + b"\0" * 8 + encoded[start + 8 :]
    assert shape_of(broken) == (6, 8, 3)
    with pytest.raises(DecodeError):
        decode(broken, 3)


# Masks


NUMBERS = np.array([[0, 1, 2], [3, 200, 255]], np.uint8)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_numbers_are_indices_or_grey_levels(mode):
    image = Image.fromarray(NUMBERS)
    if mode == "P":
        image.putpalette([5 * i % 256 for i in range(768)])
    elif mode == "I;16":
        image = Image.fromarray(NUMBERS.astype(np.uint16))
    else:
        image = image.convert(mode)
    found = numbers(encode(image))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, NUMBERS)


def test_one_bit_is_zero_or_one():
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert numbers(encode(image)).tolist() == [[0, 1], [1, 0]]


def test_masks_are_turned_upright_as_images_are():
    found = numbers(encode(NUMBERS, exif=exif(6)))
    np.testing.assert_array_equal(found, np.rot90(NUMBERS, -1))


def test_colours_are_looked_up():
    colours = {(0, 0, 0): 255, (1, 2, 3): 0, (3, 2, 1): 7}
    pixels = np.array([[[1, 2, 3], [3, 2, 1], [0, 0, 0]]], np.uint8)
    content = encode(Image.fromarray(pixels))
    assert numbers(content, colours).tolist() == [[0, 7, 255]]
    palette = encode(Image.fromarray(pixels).quantize(4))
    assert numbers(palette, colours).tolist() == [[0, 7, 255]]
    with pytest.raises(DecodeError, match="does not list its colours 3 2 1"):
        numbers(content, {(0, 0, 0): 255, (1, 2, 3): 0})
    with pytest.raises(DecodeError, match="it is a colour image"):
        numbers(content)


# What files are refused, and what is not


@pytest.mark.parametrize("form", ["EPS", "ICO", "TGA", "SGI", "PCX", "PDF", "DDS"])
def test_other_formats_that_pillow_knows_are_not_opened(form, shape_of):
    encoded = encode(Image.new("RGB", (16, 16)), form)
    for read in (lambda: decode(encoded, 3), lambda: shape_of(encoded)):
        with pytest.raises(DecodeError, match="not an image of the formats JPEG, PNG"):
            read()


def test_every_image_is_opened_here():
    package = Path(jaxvision.__file__).parent
    opening = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"Image\.open\(|imread\(", path.read_text("utf-8"))
    ]
    assert opening == ["data/files/decoding.py"]


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DecodeError, match="it is a pipe"):
        inspect(tmp_path / "pipe.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_the_number_of_pixels_is_bounded_by_an_option(form, shape_of, monkeypatch):
    encoded = encode(RGB, form)
    monkeypatch.setenv(decoding.SWITCH, "48")
    assert decode(encoded, 3).shape == shape_of(encoded) == RGB.shape
    monkeypatch.setenv(decoding.SWITCH, "47")
    choose = lambda height, width: Box(0, 0, height, width)  # noqa: E731
    out = np.empty_like(RGB)
    reads = lambda: decode(encoded, 3), lambda: shape_of(encoded)
    for read in (*reads, lambda: decode_box(encoded, choose, out)):
        with pytest.raises(
            DecodeError, match=f"more than 47 pixels.*{decoding.SWITCH}"
        ):
            read()
    for nonsense in ("many", "0", "-1", "9" * 50):
        monkeypatch.setenv(decoding.SWITCH, nonsense)
        with pytest.raises(UsageError, match="set it to a number of pixels"):
            decode(encoded, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_by_default(shape_of):
    """A few kilobytes of 144 megapixels, of one bit each."""
    encoded = encode(Image.new("1", (12_000, 12_000)))
    for read in (lambda: decode(encoded, 1), lambda: shape_of(encoded)):
        with pytest.raises(DecodeError, match="more than 89,478,485 pixels"):
            read()


def test_the_bound_may_be_above_that_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    monkeypatch.setenv(decoding.SWITCH, "48")
    assert decode(encode(RGB), 3).shape == RGB.shape


@pytest.mark.parametrize("where", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("compressed", [False, True])
def test_texts_of_any_length_in_a_png_are_accepted(where, compressed, shape_of):
    """Image generators write what they were asked for."""
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=compressed)
    encoded = encode(RGB, pnginfo=text)
    start = encoded.index(b"zTXt" if compressed else b"tEXt") - 4
    length = 12 + int.from_bytes(encoded[start : start + 4])
    chunk, rest = (
        encoded[start : start + length],
        encoded[:start] + encoded[start + length :],
    )
    at = rest.index(where) - 4
    encoded = rest[:at] + chunk + rest[at:]
    np.testing.assert_array_equal(decode(encoded, 3), RGB)
    assert shape_of(encoded) == RGB.shape
    assert numbers(encode(GREY, pnginfo=text)).shape == GREY.shape


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95}])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_cut_jpeg_with_an_end_marker_is_noticed(options, share):
    rng = np.random.default_rng(0)
    whole = encode(rng.integers(0, 256, (64, 64, 3), np.uint8), "JPEG", **options)
    cut = whole[: int(share * len(whole))] + b"\xff\xd9"
    out = np.empty((64, 64, 3), np.uint8)
    for read in (lambda: decode(cut, 3), lambda: decode_box(cut, whole_image, out)):
        with pytest.raises(DecodeError, match="lacks some of its pixels"):
            read()


def test_bytes_between_the_parts_of_a_jpeg_are_harmless():
    whole = encode(RGB, "JPEG")
    np.testing.assert_array_equal(
        decode(whole[:-2] + b"\0" * 30 + whole[-2:], 3), decode(whole, 3)
    )


def test_orientation_in_xmp_is_no_orientation(shape_of):
    """Viewers go by EXIF, and so does the decoder of parts of a JPEG."""
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    )
    encoded = encode(RGB, "JPEG", xmp=packet)
    assert decode(encoded, 3).shape == shape_of(encoded) == RGB.shape


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_data_of_12_bits_in_16_are_refused_and_not_shown_black(form, shape_of):
    values = GREY.astype(np.uint16) * 16  # up to 4,080
    if form == "PPM":
        encoded = b"P5\n8 6\n65535\n" + values.astype(">u2").tobytes()
    else:
        encoded = encode(values, form)
    for read in (lambda: decode(encoded, 1), lambda: shape_of(encoded)):
        with pytest.raises(DecodeError, match=r"16 bits are .* at most.*those of 12"):
            read()
    black = encode(values * 0, "TIFF")
    assert not decode(black, 1).any()
    np.testing.assert_array_equal(decode(encode(values * 16), 1)[..., 0], GREY)


def test_colours_of_12_bits_in_16_are_refused(shape_of):
    def encoded(*rgba):
        pixels = np.array([[rgba]], np.uint16)
        return cv2.imencode(".png", pixels)[1].tobytes()

    for colours in ((0, 4095, 300), (0, 4095, 300, 65535)):
        for read in (decode, lambda content, _: shape_of(content)):
            with pytest.raises(DecodeError, match="nearly black"):
                read(encoded(*colours), 3)
    assert decode(encoded(0, 4096, 300), 3).ravel().tolist() == [1, 16, 0]
    assert not decode(encoded(0, 0, 0), 3).any()


def test_a_pgm_that_says_that_it_has_12_bits_is_scaled():
    values = GREY.astype(np.uint16) * 16
    encoded = b"P5\n8 6\n4095\n" + values.astype(">u2").tobytes()
    np.testing.assert_allclose(decode(encoded, 1)[..., 0], GREY, atol=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_masks_hold_whole_numbers(value):
    with pytest.raises(DecodeError, match="not whole"):
        numbers(encode(np.array([[1, value]], np.float32), "TIFF"))
    assert numbers(encode(np.array([[1, 7]], np.float32), "TIFF")).tolist() == [[1, 7]]


def test_large_masks_are_looked_up_in_parts(monkeypatch):
    monkeypatch.setattr(decoding, "_ROWS", 2)
    colours = {
        tuple(level): k
        for k, level in enumerate(np.unique(RGB.reshape(-1, 3), axis=0).tolist())
    }
    whole = numbers(encode(RGB), colours)
    monkeypatch.undo()
    np.testing.assert_array_equal(whole, numbers(encode(RGB), colours))
    del colours[tuple(RGB[-1, -1].tolist())]
    with pytest.raises(DecodeError, match="does not list"):
        numbers(encode(RGB), colours)
