"""Videos made of given frames, at given times, and turned like those of phones."""

import struct
from fractions import Fraction

import numpy as np


def write_frames(path, times, size=(64, 48), aspect=None, images=None):
    """A video whose frames are shown at ``times``: grey, or ``images``."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.bit_rate = 4_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for i, time in enumerate(times):
            image = np.full((size[1], size[0], 3), 3 * i % 256, np.uint8) if images is None else images[i]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn(path, matrix):
    """Write a display matrix (a, b, c, d) into a file."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    a, b, c, d = (int(x * 65536) for x in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path
