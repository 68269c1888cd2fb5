"""Recordings in which the picture turns white while a tone sounds, from 1.0 to 1.5 s, in any container."""

from fractions import Fraction

import numpy as np
import pytest

SECONDS, BEGIN, END = 2.5, 1.0, 1.5
SIZE = (64, 48)
FPS = 30
RATE = 48000


class Stream:
    """A file that can only be written to its end, as recorders and pipes do."""

    def __init__(self, path):
        self._file = path.open("wb")

    def write(self, data):
        return self._file.write(data)


def tone(rate=RATE):
    times = np.arange(round(SECONDS * rate)) / rate
    beep = 0.5 * np.sin(2 * np.pi * 440 * times) * ((times >= BEGIN) & (times < END))
    return (beep + 5e-4 * np.sin(2 * np.pi * 100 * times)).astype(np.float32)


def write(
    path,
    picture="mpeg4",
    sound="aac",
    *,
    container=None,
    streamed=False,
    options=None,
    picture_options=None,
    times=None,
    pixels="yuv420p",
    size=SIZE,
    steps=None,
    layout="stereo",
    rate=RATE,
    tracks=1,
    picture_at=0.0,
    sound_at=0.0,
):
    """Write a recording; skip the test where the local PyAV lacks an encoder.

    Args:
        picture, sound: encoders; None for a file without.
        streamed: whether the file can't be rewound when it is finished.
        times: of the frames; `FPS` a second if None.
        steps: ticks a second of the times of frames; None for `FPS`.
        picture_at, sound_at: seconds by which a track is late.
    """
    import av

    for encoder in (picture, sound):
        if encoder is not None:
            try:
                av.codec.Codec(encoder, "w")
            except av.codec.codec.UnknownCodecError:
                pytest.skip(f"this PyAV has no encoder {encoder}")
    tick = Fraction(1, steps or FPS)
    times = np.arange(round(SECONDS * FPS)) / FPS if times is None else times
    with av.open(Stream(path) if streamed else str(path), "w", format=container, options=options or {}) as file:
        video, sounds = None, []
        if picture is not None:
            video = file.add_stream(picture, rate=FPS, options=picture_options or {})
            video.width, video.height, video.pix_fmt = *size, pixels
            if steps:
                video.time_base = video.codec_context.time_base = tick
        if sound is not None:
            sounds = [file.add_stream(sound, rate=rate, layout=layout) for _ in range(tracks)]
        signal = tone(rate)
        length = (sounds[0].codec_context.frame_size if sounds else 0) or 1024
        events = [(time + picture_at, None, time) for time in times] if video else []
        events += [(i / rate + sound_at, i, 0.0) for i in range(0, len(signal) if sounds else 0, length)]
        for time, first, shown in sorted(events, key=lambda event: event[0]):
            if first is None:
                image = np.full((size[1], size[0], 3), 230 if BEGIN <= shown < END else 40, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
                frame.pts, frame.time_base = round(time / tick), tick
                file.mux(video.encode(frame))
            else:
                for number, stream in enumerate(sounds):
                    part = signal[first : first + length] * (0.3 if number else 1.0)
                    channels = np.repeat(part[None], len(stream.layout.channels), axis=0)
                    frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
                    frame.sample_rate, frame.pts, frame.time_base = rate, round(time * rate), Fraction(1, rate)
                    file.mux(stream.encode(frame))
        for stream in ([video] if video else []) + sounds:
            file.mux(stream.encode(None))
    return path


def flash_of(video):
    """The times of the first and the last white frame of a `Video`."""
    white = [time for time, image in video.frames() if image.mean() > 120]
    return white[0], white[-1]


def beep_of(sound):
    """The times at which the tone of a `Sound` begins and ends, and how loud it is."""
    signal = np.concatenate([*sound.chunks()])
    loud = np.flatnonzero(np.abs(signal) > 0.1) / sound.rate
    return loud[0], loud[-1], np.abs(signal).max()
