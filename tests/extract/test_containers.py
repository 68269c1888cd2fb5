"""Pictures and sound of every container lie at their times, and wholes are told from parts."""

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("av")

import flash_and_beep
from flash_and_beep import BEGIN, END, FPS, beep_of, flash_of
from imder.extract.face.video import Video
from imder.extract.media import Sound
from imder.types import ImderError

_GAPS = np.random.default_rng(0).uniform(0.02, 0.1, 60).cumsum()
VARIABLE = np.unique(np.concatenate([[0], np.round(_GAPS[_GAPS < 2.5], 3), [BEGIN, END]]))
RECORDER = {
    "streamed": True,
    "container": "webm",
    "options": {"live": "1", "cluster_time_limit": "500"},
    "steps": 1000,
    "times": VARIABLE,
}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
QUIET = {"picture_options": {"x265-params": "log-level=none"}}
KINDS = {
    "vp8.webm": ("libvpx", "libopus", RECORDER),
    "vp9.webm": ("libvpx-vp9", "libopus", RECORDER | {"picture_options": {"deadline": "realtime", "cpu-used": "8"}}),
    "h264.mkv": ("libx264", "libopus", RECORDER | {"container": "matroska"}),
    "h264.mp4": ("libx264", "aac", {}),
    "h264.mov": ("libx264", "pcm_s24le", {}),
    "hevc.mp4": ("libx265", "aac", QUIET),
    "hevc10.mp4": ("libx265", "aac", QUIET | {"pixels": "yuv420p10le"}),
    "odd.mkv": ("ffv1", "flac", {"pixels": "yuv444p", "size": (65, 47), "steps": 1000}),
    "gray.mkv": ("ffv1", "flac", {"pixels": "gray16le", "steps": 1000}),
    "fragments.mp4": ("mpeg4", "aac", {"options": FRAGMENTS, "streamed": True, "container": "mp4"}),
    "surround.mp4": ("mpeg4", "aac", {"layout": "5.1"}),
    "a.ts": ("mpeg2video", "mp2", {"container": "mpegts"}),
    "interlaced.ts": ("mpeg2video", "mp2", {"container": "mpegts", "picture_options": {"flags": "+ildct+ilme"}}),
    "a.mpg": ("mpeg2video", "mp2", {"container": "mpeg", "picture_options": {"b": "900000"}}),
    "a.avi": ("mjpeg", "pcm_s16le", {"pixels": "yuvj420p"}),
    "a.flv": ("flv", "libmp3lame", {"rate": 44100}),
    "late.mkv": ("mpeg4", "aac", {"picture_at": 100.0, "sound_at": 100.0, "steps": 1000}),
    "late.ts": ("mpeg2video", "mp2", {"container": "mpegts", "picture_at": 100.0, "sound_at": 100.0}),
}


@pytest.mark.parametrize("name", KINDS)
def test_picture_and_sound_are_together(tmp_path, name):
    picture, sound, options = KINDS[name]
    path = flash_and_beep.write(tmp_path / name, picture, sound, **options)
    video, heard = Video(path, 1000), Sound(path, 16000)
    first, last = flash_of(video)
    begin, end, level = beep_of(heard)
    assert first == pytest.approx(BEGIN, abs=0.05)
    assert end - begin == pytest.approx(END - BEGIN, abs=0.02)
    assert begin - first == pytest.approx(0, abs=0.05)
    assert level == pytest.approx(0.5, abs=0.1)
    assert last < END + 0.05
    assert video.seconds == pytest.approx(2.5, abs=0.07)
    assert heard.seconds == pytest.approx(2.5, abs=0.05)
    assert (video.remarks, heard.remarks) == ([], [])


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize("late", ["picture_at", "sound_at"])
def test_a_track_that_starts_later_stays_later(tmp_path, container, late):
    picture, sound = {"ts": ("mpeg2video", "mp2"), "flv": ("flv", "libmp3lame")}.get(container, ("mpeg4", "aac"))
    muxer = {"ts": "mpegts", "mkv": "matroska"}.get(container, container)
    steps = 1000 if container == "mkv" else None
    path = flash_and_beep.write(
        tmp_path / f"a.{container}", picture, sound, container=muxer, rate=44100, steps=steps, **{late: 1.0}
    )
    video = Video(path, 1000)
    distance = flash_of(video)[0] - beep_of(Sound(path, 16000))[0]
    assert distance == pytest.approx(1.0 if late == "picture_at" else -1.0, abs=0.05)
    assert video.frame_seconds == pytest.approx(1 / FPS, rel=0.03)


def test_sound_that_is_a_little_late_is_padded_without_a_word(tmp_path):
    path = flash_and_beep.write(tmp_path / "a.mkv", "mpeg4", "flac", sound_at=0.04, steps=1000)
    sound = Sound(path, 16000)
    assert beep_of(sound)[0] == pytest.approx(BEGIN + 0.04, abs=2e-3)
    assert (sound.gaps, sound.remarks) == ([], [])


SOUNDS = {
    "aac.m4a": ("aac", {"container": "ipod"}),
    "alac.m4a": ("alac", {"container": "ipod"}),
    "a.aac": ("aac", {"container": "adts"}),
    "a.opus": ("libopus", {"container": "opus"}),
    "stream.opus": ("libopus", {"container": "ogg", "streamed": True}),
    "a.webm": ("libopus", {"container": "webm", "streamed": True, "options": {"live": "1"}}),
    "a.mp3": ("libmp3lame", {}),
    "stream.mp3": ("libmp3lame", {"streamed": True, "container": "mp3"}),
    "a.mka": ("ac3", {"layout": "5.1(side)", "container": "matroska"}),
    "stream.flac": ("flac", {"container": "flac", "streamed": True}),
    "stream.wav": ("pcm_s16le", {"container": "wav", "streamed": True}),
    "stream.w64": ("pcm_s16le", {"container": "w64", "streamed": True}),
    "stream.caf": ("pcm_s16be", {"container": "caf", "streamed": True}),
    "24.wav": ("pcm_s24le", {"layout": "mono"}),
    "float.wav": ("pcm_f32le", {"layout": "5.1"}),
    "adpcm.wav": ("adpcm_ms", {}),
    "8.wav": ("pcm_u8", {"rate": 8000, "layout": "mono"}),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_alone(tmp_path, name):
    encoder, options = SOUNDS[name]
    path = flash_and_beep.write(tmp_path / name, None, encoder, **options)
    sound = Sound(path, 16000)
    begin, end, level = beep_of(sound)
    assert begin == pytest.approx(BEGIN, abs=0.03)  # MP3 and AAC without a header keep the encoder's delay
    assert end - begin == pytest.approx(END - BEGIN, abs=0.02)
    assert level == pytest.approx(0.5, abs=0.1)
    assert sound.seconds == pytest.approx(2.5, abs=0.05)
    assert sound.remarks == []


@pytest.mark.parametrize(
    ("encoder", "container"), [("libmp3lame", "mp3"), ("libopus", "opus"), ("aac", "adts"), ("mp2", "mpegts")]
)
def test_files_joined_byte_by_byte_are_read_to_their_end(tmp_path, encoder, container):
    path = flash_and_beep.write(tmp_path / f"a.{container}", None, encoder, container=container, tracks=1)
    path.write_bytes(2 * path.read_bytes())
    sound = Sound(path, 16000)
    begin, end, _ = beep_of(sound)
    assert sound.seconds == pytest.approx(5.0, abs=0.1)
    assert end - begin == pytest.approx(2.5 + END - BEGIN, abs=0.06)
    assert not any("should be" in remark for remark in sound.remarks)


def test_pictures_joined_byte_by_byte_keep_their_distances(tmp_path):
    path = flash_and_beep.write(tmp_path / "a.webm", *KINDS["vp8.webm"][:2], **RECORDER)
    path.write_bytes(2 * path.read_bytes())
    video = Video(path, 1000)
    first, last = flash_of(video)
    assert last - first == pytest.approx(2.5 + END - BEGIN, abs=0.15)
    assert video.seconds == pytest.approx(5.0, abs=0.1)


def test_times_that_jump_by_hours_are_ignored(tmp_path):
    """The second part goes on where the first one ends, as in a broadcast whose clock was set."""
    options = {"container": "mpegts"}
    path = flash_and_beep.write(tmp_path / "a.ts", "mpeg2video", "mp2", **options)
    later = flash_and_beep.write(tmp_path / "b.ts", "mpeg2video", "mp2", picture_at=5e4, sound_at=5e4, **options)
    path.write_bytes(path.read_bytes() + later.read_bytes())
    video, sound = Video(path, 1000), Sound(path, 16000)
    assert flash_of(video)[1] == pytest.approx(2.5 + END, abs=0.1)
    assert beep_of(sound)[1] == pytest.approx(2.5 + END, abs=0.1)
    for remarks in (video.remarks, sound.remarks):
        assert len(remarks) == 1
        assert "its times jump by 4999" in remarks[0]


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path, loud_first):
    """Its length is guessed from the bit rate of its beginning, which a quiet or loud beginning misleads."""
    import av

    parts = [0.3 * np.random.default_rng(0).standard_normal(2 * 44100), np.zeros(2 * 44100)]
    signal = np.concatenate(parts if loud_first else parts[::-1]).astype(np.float32)
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w", options={"write_xing": "0"}) as file:
        stream = file.add_stream(
            "libmp3lame", rate=44100, layout="mono", options={"flags": "+qscale", "global_quality": "236"}
        )
        for start in range(0, len(signal), 1152):
            frame = av.AudioFrame.from_ndarray(signal[None, start : start + 1152], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    sound = Sound(path, 16000)
    assert sum(map(len, sound.chunks())) / 16000 == pytest.approx(4.0, abs=0.06)
    assert sound.remarks == []


@pytest.mark.parametrize("share", [0.8, 0.6])
@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "h264.mkv", "fragments.mp4"])
def test_a_container_that_is_cut_short(tmp_path, name, share):
    picture, sound, options = KINDS.get(name, ("mpeg4", "aac", {"steps": 1000}))
    options = {name: value for name, value in options.items() if name not in ("streamed", "times")}
    options["options"] = FRAGMENTS if name.endswith(".mp4") else {}
    path = flash_and_beep.write(tmp_path / name, picture, sound, **options)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    video, heard = Video(path, 1000), Sound(path, 16000)
    assert 0 < sum(1 for _ in video.frames()) < 75
    assert 0 < sum(map(len, heard.chunks())) < 2.49 * 16000
    assert any("cut short" in remark or "ends after" in remark for remark in video.remarks)
    assert any("cut short" in remark or "damaged after" in remark for remark in heard.remarks)


def test_an_mp4_without_its_index_says_so(tmp_path):
    path = flash_and_beep.write(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for file in (Video(path, 30).frames(), Sound(path, 16000).chunks()):
        with pytest.raises(ImderError, match=r"a\.mp4: .*no index \(moov\)"):
            list(file)


@pytest.mark.parametrize("container", ["mp4", "mp3", "flac"])
def test_the_cover_of_a_sound_file_is_no_picture(tmp_path, container):
    av = pytest.importorskip("av")
    image = pytest.importorskip("PIL.Image")
    cover = tmp_path / "cover.png"
    image.fromarray(np.full((30, 30, 3), 200, np.uint8)).save(cover)
    path = tmp_path / f"a.{container}"
    encoder = {"mp4": "aac", "mp3": "libmp3lame", "flac": "flac"}[container]
    with av.open(str(path), "w") as file:
        sound = file.add_stream(encoder, rate=44100, layout="mono")
        picture = file.add_stream("png", rate=1)
        picture.width = picture.height = 30
        picture.pix_fmt = "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover.read_bytes())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
        file.start_encoding()
        file.mux(packet)
        signal = flash_and_beep.tone(44100)[None]
        for start in range(0, signal.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(signal[:, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    video = Video(path, 30)
    assert list(video.frames()) == []
    assert not video.has_picture
    assert beep_of(Sound(path, 16000))[0] == pytest.approx(BEGIN, abs=0.03)


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_a_picture_without_sound_has_none_to_read(tmp_path, ending):
    encoder, pixels = {"gif": ("gif", "rgb8"), "png": ("apng", "rgb24")}[ending]
    path = flash_and_beep.write(
        tmp_path / f"a.{ending}",
        encoder,
        None,
        pixels=pixels,
        container={"png": "apng"}.get(ending),
        times=np.arange(5) / 2,
    )
    video = Video(path, 1000)
    assert sum(1 for _ in video.frames()) == 5
    assert video.remarks == []
    with pytest.raises(ImderError, match="has no sound track"):
        list(Sound(path, 16000).chunks())
    path.write_bytes(path.read_bytes()[:-30])
    assert sum(1 for _ in video.frames()) <= 5
    assert video.remarks
