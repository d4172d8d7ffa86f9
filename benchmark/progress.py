"""What is printed of the runs of the benchmark while they go on, and when they end."""

import re
import signal
import time

# The progress bar of a script: steps done and in all, time left, and the rate in one of two units.
BAR = re.compile(r"(\d+)/(\d+) \[[\d:]+<([\d:?]+), +([\d.?]+)(step/s|s/step)")
EVALUATION = re.compile(r"^step +[\d,]+  (.*eval/.*)$", re.MULTILINE)


def say(text):
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def signal_name(code):
    """`, SIGKILL` for the exit code of what SIGKILL has ended; nothing if it was no signal."""
    for number in signal.Signals:
        if code == 128 + number:
            return f", {number.name}"
    return ""


def clock(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def describe(log):
    """Steps, speed, time left and the last evaluation of a run, from what it has printed."""
    words = []
    bars = BAR.findall(log)
    if bars:
        done, total, left, rate, unit = bars[-1]
        rate = 0 if rate == "?" else float(rate)
        if rate and unit == "s/step":
            rate = 1 / rate
        words.append(f"{int(done):,d}/{int(total):,d} steps")
        words.append(f"{rate:.0f} steps/s")
        if done != total:
            words.append(f"{left} left")
    else:
        words.append("starting")
    evaluations = EVALUATION.findall(log.replace("\r", "\n"))
    if evaluations:
        metrics = dict(re.findall(r"eval/(\S+) (\S+)", evaluations[-1]))
        words.append(f"evaluation: return {metrics['ep_reward']}")
        if "battle_won" in metrics:
            words.append(f"won {metrics['battle_won']}")
    return ", ".join(words)
