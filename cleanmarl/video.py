"""Episodes that can be played again, and videos of them, written by moviepy's ffmpeg while they are played."""

import contextlib
import os
import random
import subprocess
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from cleanmarl.env_wrappers import UsageError


class Video:
    """A film of (height, width, 3) uint8 frames, a .mp4 that browsers play or a .gif. Frames are not kept in memory.

    Nothing stands at `path` before `finish` puts the whole film there. Raises a UsageError for what cannot work.
    """

    def __init__(self, path, fps):
        self.path, self.fps, self.writer, self.last = Path(path), fps, None, None
        self.is_gif = self.path.suffix.lower() == ".gif"
        if self.path.suffix.lower() not in (".mp4", ".gif"):
            raise UsageError(f"--video: {path} must end in .mp4 or .gif")
        if not self.path.parent.is_dir():
            raise UsageError(f"--video: there is no folder {self.path.parent}")
        try:
            from moviepy.config import FFMPEG_BINARY
            from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter
        except ModuleNotFoundError as error:
            raise UsageError(
                '--video needs a package that is missing: pip install -e ".[video]"'
            ) from error
        self.ffmpeg, self.make_writer = FFMPEG_BINARY, FFMPEG_VideoWriter
        try:
            self.folder = tempfile.TemporaryDirectory(prefix=".video-", dir=self.path.parent)
        except OSError as error:
            raise UsageError(
                f"--video: cannot write to {self.path.parent}: {error.strerror}"
            ) from error
        names = "film.mp4", "palette.png", "film.gif"
        self.film, self.palette, self.gif = (str(Path(self.folder.name, name)) for name in names)

    def add(self, frame, times=1):
        """Show a frame for `times` / fps seconds."""
        if (
            not isinstance(frame, np.ndarray)
            or frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] != 3
        ):
            raise UsageError(
                "--video: the environment's render() gives no pictures (height, width, 3) of uint8"
            )
        frame = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]  # players want even sizes
        if self.last is not None and frame.shape != self.last.shape:
            raise UsageError(
                f"--video: pictures of {self.last.shape} are followed by one of {frame.shape}"
            )
        self.last = frame
        if self.writer is None:
            # A GIF's palette is made of all frames: they are stored first, without a loss.
            codec, *options = (
                ("libx264rgb", "-crf", "0") if self.is_gif else ("libx264", "-vf", "format=yuv420p")
            )
            options += ["-movflags", "+faststart"]  # a browser can begin before it has all
            self.writer = self.make_writer(
                self.film, frame.shape[1::-1], self.fps, codec, ffmpeg_params=options
            )
        try:
            for _ in range(times):
                self.writer.write_frame(frame)
        except OSError as error:  # moviepy's has ffmpeg's own words at its end
            raise UsageError(
                f"--video: ffmpeg has failed: {str(error).splitlines()[-1]}"
            ) from error

    def hold(self):
        """Let the latest frame stand for a second."""
        self.add(self.last, times=round(self.fps))

    def finish(self):
        """Put the film where it shall be."""
        self.writer.close()
        read = [self.ffmpeg, "-nostdin", "-loglevel", "error", "-i", self.film]
        paint = ["-i", self.palette, "-lavfi", "paletteuse=dither=none:diff_mode=rectangle"]
        try:
            if self.is_gif:
                subprocess.run([*read, "-vf", "palettegen", self.palette], check=True)
                subprocess.run([*read, *paint, self.gif], check=True)
            os.replace(self.gif if self.is_gif else self.film, self.path)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError(f"--video: cannot make {self.path}: {error}") from error

    def close(self):
        """Leave nothing but a finished film."""
        with contextlib.suppress(OSError):  # Ctrl-C stops ffmpeg too
            if self.writer is not None:
                self.writer.close()
        self.folder.cleanup()


class Episodes(gym.Wrapper):
    """Its resets have the seeds `seed`, `seed + 1`..., and its pictures go to `video` while there is one."""

    def __init__(self, env, seed):
        super().__init__(env)
        self.next_seed, self.video = seed, None

    def film(self, result):
        if self.video is not None:
            frames = (
                self.env.battle.render_ticks()
                if "frames_per_step" in self.env.metadata
                else [self.env.render()]
            )
            for frame in frames:
                self.video.add(frame)
        return result

    def reset(self, **kwargs):
        seed, self.next_seed = self.next_seed, self.next_seed + 1
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        return self.film(self.env.reset(seed=seed))

    def step(self, actions):
        return self.film(self.env.step(actions))
