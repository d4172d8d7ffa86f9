"""A table of figures: printed as its rows come, and added to a CSV file that the docs show."""

import csv

from suites import usage_error


class Table:
    """Rows of words and whole numbers; other numbers are words too, with the digits to show.

    A CSV file that is there keeps its rows, so one table can come of several commands.
    """

    def __init__(self, columns, path=None):
        self.path = path
        if path is not None:
            if not path.parent.is_dir():
                usage_error(f"--csv: there is no folder {path.parent}: make it first")
            if not path.exists():
                self.write(columns)
            with path.open(newline="") as file:
                there = next(csv.reader(file), [])
            if there != list(columns):
                usage_error(f"--csv: {path} has other columns: delete it or give another name")
        self.print(columns)
        print("|" + "-|" * len(columns), flush=True)

    def add(self, *cells):
        self.print(f"{cell:,d}" if isinstance(cell, int) else cell for cell in cells)
        if self.path is not None:
            self.write(cells)

    def print(self, cells):
        print("| " + " | ".join(cells) + " |", flush=True)

    def write(self, cells):
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)
