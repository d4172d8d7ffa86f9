"""Videos of episodes, written by moviepy's ffmpeg while the episodes are played."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from cleanmarl.env_wrappers import UsageError


class Video:
    """A video of (height, width, 3) uint8 frames: a .mp4 that browsers play, or a .gif.

    Frames go to ffmpeg one by one and are not kept. They are written to a temporary folder beside
    `path`; `finish` moves the whole video to `path`. Problems are UsageErrors.
    """

    def __init__(self, path, fps):
        self.path = Path(path)
        self.fps = fps
        self.is_gif = self.path.suffix.lower() == ".gif"
        self.writer = None  # ffmpeg, from the first frame on
        self.last_frame = None
        if self.path.suffix.lower() not in (".mp4", ".gif"):
            raise UsageError(f"--video: {path} must end in .mp4 or .gif")
        if not self.path.parent.is_dir():
            raise UsageError(f"--video: there is no folder {self.path.parent}")
        try:
            from moviepy.config import FFMPEG_BINARY
            from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter
        except ModuleNotFoundError as error:
            hint = 'pip install -e ".[video]"'
            raise UsageError(f"--video needs a package that is missing: {hint}") from error
        self.ffmpeg = FFMPEG_BINARY
        self.make_writer = FFMPEG_VideoWriter
        try:
            self.folder = tempfile.TemporaryDirectory(prefix=".video-", dir=self.path.parent)
        except OSError as error:
            problem = f"cannot write to {self.path.parent}: {error.strerror}"
            raise UsageError(f"--video: {problem}") from error
        self.film = str(Path(self.folder.name, "film.mp4"))
        self.palette = str(Path(self.folder.name, "palette.png"))
        self.gif = str(Path(self.folder.name, "film.gif"))

    def add(self, frame, times=1):
        """Show a frame for `times` / fps seconds."""
        is_array = isinstance(frame, np.ndarray) and frame.dtype == np.uint8
        if not is_array or frame.ndim != 3 or frame.shape[2] != 3:
            problem = "the environment's render() gives no pictures (height, width, 3) of uint8"
            raise UsageError(f"--video: {problem}")
        height, width, _ = frame.shape
        frame = frame[: height // 2 * 2, : width // 2 * 2]  # players want even sizes
        if self.last_frame is not None and frame.shape != self.last_frame.shape:
            problem = f"pictures of {self.last_frame.shape} are followed by one of {frame.shape}"
            raise UsageError(f"--video: {problem}")
        self.last_frame = frame
        if self.writer is None:
            self.start_ffmpeg()
        try:
            for _ in range(times):
                self.writer.write_frame(frame)
        except OSError as error:
            problem = str(error).splitlines()[-1]  # moviepy quotes ffmpeg at the end
            raise UsageError(f"--video: ffmpeg has failed: {problem}") from error

    def start_ffmpeg(self):
        """Start to write frames of the size of the last one."""
        height, width, _ = self.last_frame.shape
        if self.is_gif:
            # The palette of a GIF needs all frames, so they are stored first, without a loss.
            codec = "libx264rgb"
            options = ["-crf", "0"]
        else:
            codec = "libx264"
            options = ["-vf", "format=yuv420p"]
        options += ["-movflags", "+faststart"]  # a browser can start before it has all
        self.writer = self.make_writer(
            self.film, (width, height), self.fps, codec, ffmpeg_params=options
        )

    def hold(self):
        """Repeat the last frame for one second."""
        self.add(self.last_frame, times=round(self.fps))

    def finish(self):
        """Move the finished video to `path`."""
        self.writer.close()
        read = [self.ffmpeg, "-nostdin", "-loglevel", "error", "-i", self.film]
        use_palette = ["-i", self.palette, "-lavfi", "paletteuse=dither=none:diff_mode=rectangle"]
        try:
            if self.is_gif:
                subprocess.run([*read, "-vf", "palettegen", self.palette], check=True)
                subprocess.run([*read, *use_palette, self.gif], check=True)
                os.replace(self.gif, self.path)
            else:
                os.replace(self.film, self.path)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError(f"--video: cannot make {self.path}: {error}") from error

    def close(self):
        """Delete temporary files, and with them a video that is not finished."""
        with contextlib.suppress(OSError):  # Ctrl-C stops ffmpeg too
            if self.writer is not None:
                self.writer.close()
        self.folder.cleanup()


class FilmedEpisodes(gym.Wrapper):
    """Resets episode i with `seed + i`, and films while `video` is set.

    The generators of Python, NumPy and torch get the same seeds, so that any episode can be played
    again. The `handlers` of signals are put back that an environment replaces with its own.
    """

    def __init__(self, env, seed, handlers=None):
        super().__init__(env)
        self.next_seed = seed
        self.handlers = handlers or {}  # by the numbers of the signals
        self.video = None

    def reset(self, **kwargs):
        seed = self.next_seed
        self.next_seed += 1
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        result = self.env.reset(seed=seed)
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.film()
        return result

    def step(self, actions):
        result = self.env.step(actions)
        self.film()
        return result

    def film(self):
        """Add the pictures of the latest step to the video."""
        if self.video is None:
            return
        if "frames_per_step" in self.env.metadata:  # smaclite_jit draws the ticks of a step
            frames = self.env.battle.render_ticks()
        else:
            frames = [self.env.render()]
        for frame in frames:
            self.video.add(frame)
