"""Links to lines of cleanmarl/qmix.py, whose numbers are looked up when the site is built.

``script`` is a directive that shows the script; each line has a number and an anchor. The role
``line`` links to the one line that begins with these words. A text that begins no line, or several,
is a warning, which ends the build.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.directives.code import LiteralInclude
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

SCRIPT = Path(__file__).parent.parent / "cleanmarl" / "qmix.py"
PAGE = "script"  # which shows it


def find_line(text):
    """The number of the line that begins with `text`, as whole words. None if there is not one."""
    pattern = re.compile(rf"\s*{re.escape(text)}(?!\w)")
    lines = SCRIPT.read_text().splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if pattern.match(line)]
    return numbers[0] if len(numbers) == 1 else None


class Script(LiteralInclude):
    """A literalinclude whose lines have the anchors line-1, line-2..."""

    def run(self):
        self.options["linenos"] = None
        (literal,) = super().run()
        literal["highlight_args"]["linespans"] = "line"  # for Pygments
        return [literal]


class Line(SphinxRole):
    """A link to a line: {line}`class Mixer`."""

    def run(self):
        self.env.note_dependency(str(SCRIPT))
        number = find_line(self.text)
        if number is None:
            problem = f"not one line of {SCRIPT.name} begins with {self.text!r}"
            return [], [self.inliner.reporter.warning(problem, line=self.lineno)]
        shown = nodes.inline(text=f"line {number}")
        builder = self.env.app.builder
        return [make_refnode(builder, self.env.docname, PAGE, f"line-{number}", shown)], []


def setup(app):
    app.add_directive("script", Script)
    app.add_role("line", Line())
    return {"parallel_read_safe": True}
