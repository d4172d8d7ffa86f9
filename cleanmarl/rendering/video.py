"""Videos of episodes, written by moviepy's ffmpeg while the episodes are played."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np

from cleanmarl import UsageError

try:
    from moviepy.config import FFMPEG_BINARY
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter
except ModuleNotFoundError as error:
    hint = 'pip install -e ".[video]"'
    raise UsageError(f"--video needs a package that is missing: {hint}") from error


class Video:
    """A video of (height, width, 3) uint8 frames: a .mp4 that browsers play, or a .gif.

    Frames go to ffmpeg one by one and are not kept. They are written to a temporary folder beside
    `path`; `finish` moves the whole video to `path`. Problems are UsageErrors.
    """

    def __init__(self, path, fps):
        self.path = Path(path)
        self.fps = fps
        self.writer = None  # ffmpeg, from the first frame on
        self.last_frame = None
        if self.path.suffix.lower() not in (".mp4", ".gif"):
            raise UsageError(f"--video: {path} must end in .mp4 or .gif")
        try:
            self.folder = tempfile.TemporaryDirectory(prefix=".video-", dir=self.path.parent)
        except OSError as error:
            problem = f"cannot write to the folder {self.path.parent}: {error.strerror}"
            raise UsageError(f"--video: {problem}") from error
        self.film = Path(self.folder.name, "film.mp4")
        self.gif = Path(self.folder.name, "film.gif")

    def add(self, frame):
        """Show a frame for 1 / fps seconds."""
        is_array = isinstance(frame, np.ndarray) and frame.dtype == np.uint8
        if not is_array or frame.shape[2:] != (3,):
            problem = "the environment's render() gives no pictures (height, width, 3) of uint8"
            raise UsageError(f"--video: {problem}")
        height, width, _ = frame.shape
        frame = frame[: height // 2 * 2, : width // 2 * 2]  # players want even sizes
        if self.writer is None:
            self.writer = self.start_ffmpeg(frame.shape)
        elif frame.shape != self.last_frame.shape:
            problem = f"pictures of {self.last_frame.shape} are followed by one of {frame.shape}"
            raise UsageError(f"--video: {problem}")
        self.last_frame = frame
        try:
            self.writer.write_frame(frame)
        except OSError as error:
            problem = str(error).splitlines()[-1]  # moviepy quotes ffmpeg at the end
            raise UsageError(f"--video: ffmpeg has failed: {problem}") from error

    def start_ffmpeg(self, shape):
        height, width, _ = shape
        if self.path.suffix.lower() == ".gif":
            # The palette of a GIF needs all frames, so they are stored first, without a loss.
            codec = "libx264rgb"
            options = ["-crf", "0"]
        else:
            codec = "libx264"
            options = ["-vf", "format=yuv420p"]
            options += ["-movflags", "+faststart"]  # a browser can start before it has all
        size = (width, height)
        return FFMPEG_VideoWriter(str(self.film), size, self.fps, codec, ffmpeg_params=options)

    def hold(self):
        """Repeat the last frame for one second."""
        for _ in range(round(self.fps)):
            self.add(self.last_frame)

    def finish(self):
        """Move the finished video to `path`."""
        self.writer.close()
        try:
            if self.path.suffix.lower() == ".gif":
                self.make_gif()
                os.replace(self.gif, self.path)
            else:
                os.replace(self.film, self.path)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError(f"--video: cannot make {self.path}: {error}") from error

    def make_gif(self):
        # The film is read twice, for the palette and for the pictures, as one would be kept.
        films = ["-i", self.film, "-i", self.film]
        pictures = "[0]palettegen[p];[1][p]paletteuse=dither=none:diff_mode=rectangle"
        command = [FFMPEG_BINARY, "-nostdin", "-loglevel", "error", *films, "-lavfi", pictures]
        subprocess.run([*command, self.gif], check=True)

    def close(self):
        """Delete temporary files, and with them a video that is not finished."""
        with contextlib.suppress(OSError):  # Ctrl-C stops ffmpeg too
            if self.writer is not None:
                self.writer.close()
        self.folder.cleanup()


class FilmedEpisodes(gym.Wrapper):
    """Films the first `num_episodes` episodes of a `TeamEnv`."""

    def __init__(self, env, path, num_episodes):
        super().__init__(env)
        self.episodes_left = num_episodes  # to be filmed
        # smaclite_jit draws the ticks of a step.
        fps = env.metadata["render_fps"] * env.metadata.get("frames_per_step", 1)
        self.video = Video(path, fps)

    def reset(self, **kwargs):
        result = self.env.reset(**kwargs)
        self.film()
        return result

    def step(self, actions):
        result = self.env.step(actions)
        self.film()
        _, _, terminated, truncated, _ = result
        if (terminated or truncated) and self.episodes_left > 0:
            self.video.hold()
            self.episodes_left -= 1
            if self.episodes_left == 0:
                self.video.finish()
        return result

    def film(self):
        """Add the pictures of the latest step to the video."""
        if self.episodes_left == 0:
            return
        if "frames_per_step" in self.env.metadata:
            frames = self.env.unwrapped.battle.render_ticks()
        else:
            frames = [self.env.render()]
        for frame in frames:
            self.video.add(frame)

    def close(self):
        try:
            self.env.close()
        finally:
            self.video.close()
