import hashlib
import io
import json
import logging
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from crate_transformer.data import PHOTOGRAPHS, BrokenImageError, list_images, photograph, read_image, read_images

RAMP = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))


def colours() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(kind):
    assert read_image(encoded(colours(), kind)).tobytes() == colours().tobytes()


def test_webp_and_jpeg_are_close():
    assert read_image(encoded(colours(), "WEBP", lossless=True)).tobytes() == colours().tobytes()
    smooth = Image.fromarray(RAMP).convert("RGB")
    difference = np.abs(np.asarray(read_image(encoded(smooth, "JPEG", quality=95))).astype(int) - RAMP[..., None])
    assert difference.max() < 12


def test_grey_alpha_palette_cmyk():
    grey = Image.fromarray(RAMP)
    assert np.array_equal(np.asarray(read_image(encoded(grey, "PNG"))), np.stack([RAMP] * 3, axis=2))
    faint = Image.merge("RGBA", [*colours().split(), Image.new("L", colours().size, 7)])
    assert read_image(encoded(faint, "PNG")).tobytes() == colours().tobytes()
    assert read_image(encoded(Image.merge("LA", [grey, grey]), "PNG")).tobytes() == grey.convert("RGB").tobytes()
    palette = colours().quantize(16)
    assert read_image(encoded(palette, "PNG")).tobytes() == palette.convert("RGB").tobytes()
    see_through = encoded(palette, "PNG", transparency=bytes(range(16)))
    assert read_image(see_through).tobytes() == palette.convert("RGB").tobytes()
    cmyk = colours().convert("CMYK")
    assert read_image(encoded(cmyk, "TIFF")).tobytes() == cmyk.convert("RGB").tobytes()
    assert read_image(encoded(grey.point(lambda v: 255 * (v > 99)).convert("1"), "PNG")).getcolors() is not None


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind):
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    values[-1, -1] = 65535
    decoded = np.asarray(read_image(encoded(Image.fromarray(values), kind)))[..., 0]
    assert np.array_equal(decoded, np.round(values / 65535 * 255))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    upright = colours()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    for kind in ("PNG", "WEBP"):
        data = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
        assert read_image(data).tobytes() == upright.tobytes()
    grey = encoded(stored.convert("L"), "PNG", exif=exif)
    assert read_image(grey).size == upright.size


def test_first_frame_of_an_animation():
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(red, kind, save_all=True, append_images=[blue])
        (left, *_) = read_image(data).getcolors()
        assert left[1][0] > 200 > 60 > left[1][2], kind


def test_broken_files_are_named(tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    with pytest.raises(BrokenImageError, match=r"notes\.jpg is not a readable image \(not a JPEG, PNG"):
        read_image(text)
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(BrokenImageError, match=r"empty\.png"):
        read_image(tmp_path / "empty.png")
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        cut = tmp_path / f"cut.{kind}"
        data = encoded(photograph("cat").resize((64, 64)), kind)
        cut.write_bytes(data[: len(data) // 2])
        with pytest.raises(BrokenImageError, match=rf"cut\.{kind} is not a readable image \(.+\)") as error:
            read_image(str(cut))
        assert "\n" not in str(error.value) and " 0x" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(BrokenImageError, match="is a folder, not a regular file"):
        read_image(tmp_path)


def test_a_decompression_bomb_is_refused_unopened():
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, expect in [(60_000, "pixels"), (12_000, "1,099 MB.*set the environment variable CRATE_MEMORY_LIMIT")]:
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        with pytest.raises(BrokenImageError, match=expect):
            read_image(bomb, name="bomb.png")


def segments(data: bytes, kind: str) -> list[tuple[int, int]]:
    """Where the metadata lie in a file: from and to."""
    found, start = [], {"JPEG": 2, "PNG": 8, "WEBP": 12}[kind]
    while start < len(data) and data[start + 1] != 0xDA:
        if kind == "JPEG":
            end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
            part, is_metadata = (start + 4, end), data[start + 1] in (*range(0xE1, 0xEE), 0xFE)
        elif kind == "PNG":
            end = start + 12 + int.from_bytes(data[start : start + 4], "big")
            part, is_metadata = (start + 8, end), data[start + 4] & 32
        else:
            size = int.from_bytes(data[start + 4 : start + 8], "little")
            end = start + 8 + size + size % 2
            part, is_metadata = (start + 8, end), data[start : start + 4] in (b"EXIF", b"ICCP", b"XMP ")
        if is_metadata:
            found.append(part)
        start = end
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_metadata_leave_the_pixels(kind):
    exif = Image.Exif()
    exif[0x010E] = "description" * 5
    notes = PngInfo()
    notes.add_text("plain", "text" * 20)
    notes.add_text("packed", "text" * 20, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(colours(), kind, exif=exif, icc_profile=profile, pnginfo=notes, comment=b"a comment")
    whole, places, random = read_image(data), segments(data, kind), np.random.default_rng(0)
    assert len(places) >= 2
    for _ in range(200):
        damaged = bytearray(data)
        start, end = places[random.integers(len(places))]
        for place in random.integers(start, end, random.integers(1, 30)):
            damaged[place] = random.integers(256)
        found = read_image(bytes(damaged))
        assert found.size in (whole.size, whole.size[::-1])
        if found.size == whole.size:  # chance may write an orientation
            assert sorted(found.tobytes()) == sorted(whole.tobytes())


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_damaged_pixels_of_a_png_are_never_shown(mode):
    """Whichever byte of a part that the pixels need is changed, also the name of the part."""
    picture = colours().resize((8, 6))
    data = encoded(picture.quantize(16) if mode == "P" else picture, "PNG")
    whole = read_image(data)
    assert read_image(data + b"a note of some camera").tobytes() == whole.tobytes()
    for place in range(8, len(data)):
        for value in (data[place] ^ 0x20, data[place] ^ 1):
            damaged = data[:place] + bytes([value]) + data[place + 1 :]
            try:
                found = read_image(damaged)
            except BrokenImageError:
                continue
            assert place >= len(data) - 12 and found.tobytes() == whole.tobytes()  # the last part holds nothing


def test_what_a_picture_may_take_is_bounded_and_can_be_raised(monkeypatch):
    small, grey = encoded(Image.new("RGB", (512, 512)), "PNG"), encoded(Image.new("I;16", (512, 512)), "PNG")
    assert read_image(small, limit=3 << 20).size == (512, 512)
    for data in (small, grey):  # 2.0 and 2.8 MB
        with pytest.raises(BrokenImageError, match="would take 3 MB of memory, more than the limit of 1; set "):
            read_image(data, limit=1 << 20)
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "1")
    with pytest.raises(BrokenImageError, match="more than the limit of 1;"):
        read_image(small)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setenv("CRATE_MEMORY_LIMIT", "4096")
    assert read_image(small).size == (512, 512)


def test_pixels_without_a_range_are_refused():
    with pytest.raises(BrokenImageError, match="floating-point"):
        read_image(encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"))
    with pytest.raises(BrokenImageError, match="do not fit in 16 bits"):
        read_image(encoded(Image.fromarray(RAMP.astype(np.int32) * 1000), "TIFF"))


def test_error_survives_pickling():
    error = pickle.loads(pickle.dumps(BrokenImageError("a.png", "why")))
    assert str(error) == "a.png is not a readable image (why)"


def test_decoding_equals_the_golden_bytes(shared):
    entries = json.loads((shared / "golden/index.json").read_text())["entries"]
    entries = [entry for entry in entries if entry["family"] == "preprocess"]
    assert len(entries) == 6
    for entry in entries:
        image = read_image(shared / "golden" / entry["files"]["image"])
        if entry["files"]["image"].endswith("jpg"):
            assert list(image.size) == entry["config"]["original_size_wh"]
        else:
            assert hashlib.sha256(image.tobytes()).hexdigest() == entry["config"]["decoded_sha256"]


def test_list_images(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a.webp", "b/readme.txt", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in list_images([tmp_path / "b", tmp_path / "a.webp"])] == ["1.JPG", "2.png", "a.webp"]
    assert len(list_images([str(tmp_path)])) == 3
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none contains no images"):
        list_images([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match="away does not exist"):
        list_images([tmp_path / "away"])
    with pytest.raises(ValueError, match="give at least one image or folder of images"):
        list_images([])


def test_read_images_goes_on_in_folders_only(tmp_path, caplog):
    for name in ("1.png", "3.png"):
        colours().save(tmp_path / name)
    (tmp_path / "2.png").write_text("no picture")
    (tmp_path / "4.png").symlink_to(tmp_path / "gone")
    with caplog.at_level(logging.WARNING, "crate_transformer.data"):
        read = dict(read_images([tmp_path]))
    assert list(read) == [str(tmp_path / name) for name in ("1.png", "3.png")]
    assert read[str(tmp_path / "1.png")].tobytes() == colours().tobytes()
    first, second, count = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"skipped: {tmp_path}/2.png is not a readable") and "4.png does not exist" in second
    assert count == "2 of 4 images are unreadable and were skipped"
    with pytest.raises(BrokenImageError, match=r"2\.png"):
        list(read_images([tmp_path / "1.png", str(tmp_path / "2.png")]))
    for name in ("1.png", "3.png"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"none of the 2 images in {tmp_path} is readable"):
        list(read_images([tmp_path]))


def test_transparent_pixels_show_the_colour_under_them():
    hidden = Image.new("RGBA", (4, 4), (200, 10, 30, 0))
    assert read_image(encoded(hidden, "PNG")).getpixel((0, 0)) == (200, 10, 30)


def test_photographs_are_there_offline():
    sizes = {name: photograph(name) for name in PHOTOGRAPHS}
    assert {"cat", "astronaut", "coffee", "rocket"} <= set(sizes)
    assert all(picture.mode == "RGB" and min(picture.size) >= 300 for picture in sizes.values())
    assert len({picture.tobytes() for picture in sizes.values()}) == len(sizes)
    with pytest.raises(ValueError, match="no photograph 'dog': choose one of cat"):
        photograph("dog")


def test_too_little_memory_is_no_fault_of_the_picture(tmp_path, monkeypatch):
    colours().save(tmp_path / "1.png")

    def load(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "1.png")
