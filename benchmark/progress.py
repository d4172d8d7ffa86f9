"""What is printed of the runs of the benchmark while they go on, and when they end."""

import re
import signal
import time

# The line of an evaluation: steps done, metrics, steps per second.
EVALUATION = re.compile(r"^step +([\d,]+)  (.*eval/.*)  ([\d,]+) steps/s$", re.MULTILINE)
# What a script says before it trains.
BUFFER = re.compile(r"^replay buffer: .*, up to ([\d,]+) MB$", re.MULTILINE)
TOTAL = re.compile(r"--total-timesteps[ =](\d+)")
DEFAULT_TOTAL = 1_000_000  # of the scripts


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


def buffer_size(log):
    """How many bytes a run's replay buffer can become; 0 before its log says so."""
    megabytes = BUFFER.search(log)
    if megabytes is None:
        return 0
    return max(1, int(megabytes[1].replace(",", "")) * 1_000_000)  # of the smallest it says 0 MB


def describe(log, command):
    """Steps, speed, time left and return of a run at its last evaluation, from what it printed."""
    evaluations = EVALUATION.findall(log)
    if not evaluations:
        return "starting"
    done, metrics, rate = evaluations[-1]
    done = int(done.replace(",", ""))
    rate = int(rate.replace(",", ""))
    given = TOTAL.search(command)
    total = int(given[1]) if given else DEFAULT_TOTAL
    words = [f"{done:,d}/{total:,d} steps", f"{rate} steps/s"]
    if done < total and rate:
        words.append(f"{clock((total - done) / rate)} left")
    metrics = dict(re.findall(r"eval/(\S+) (\S+)", metrics))
    words.append(f"evaluation: return {metrics['ep_reward']}")
    if "battle_won" in metrics:
        words.append(f"won {metrics['battle_won']}")
    return ", ".join(words)
