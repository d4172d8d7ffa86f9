"""A table of figures: printed as its rows come, and added to a CSV file that the docs show."""

import csv

from suites import usage_error


class Table:
    """A table whose cells are words and whole numbers. Any other number comes rounded, as a word.

    Rows are added to a CSV file that is there, so that several commands can make one table.
    """

    def __init__(self, columns, path=None):
        self.path = path
        if path is not None:
            if path.is_dir() or not path.parent.is_dir():
                usage_error(f"--csv: {path} cannot be a file: give another name")
            if not path.exists():
                self.write_row(columns)
            with path.open(newline="") as file:
                header = next(csv.reader(file), [])
            if header != list(columns):
                usage_error(f"--csv: {path} has other columns: delete it or give another name")
        self.print_row(columns)
        print("|" + "-|" * len(columns), flush=True)

    def add(self, *cells):
        self.print_row(f"{cell:,d}" if isinstance(cell, int) else cell for cell in cells)
        if self.path is not None:
            self.write_row(cells)

    def print_row(self, cells):
        print("| " + " | ".join(cells) + " |", flush=True)

    def write_row(self, cells):
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)
