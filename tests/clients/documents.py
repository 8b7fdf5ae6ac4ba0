"""Runs the examples of a page in docs/ as its reader would.

A fenced block whose first line names a file, such as `/* write.c: … */`, is that file. A block of `console` is a
dialogue: lines that begin with `$ ` are typed, the others are what must be printed, on both streams, no more and no
less. In those, a line of `…` stands for any lines, and `…` in a line for any text.
"""
import dataclasses
import os
import pathlib
import re
import sys

import tools

FILE_NAME = re.compile(r"\W*([A-Za-z]\w*\.(?:c|f90|m|R|py))\b")
PROMPT = "$ "


@dataclasses.dataclass
class Step:
    """One command and what the page says that it prints; `line` is the page's."""

    line: int
    command: str
    expected: list[str]

    def matches(self, printed):
        pattern = "".join(map(line_pattern, self.expected))
        ended = printed if printed.endswith("\n") or not printed else printed + "\n"
        return re.fullmatch(pattern, ended) is not None


def line_pattern(line):
    if line.strip() == "…":
        return r"(?:[^\n]*\n)*?"
    return r"[^\n]*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ \t]*\n"


class Page:
    """A page of docs/, or that part of it which stands below one heading."""

    def __init__(self, name, heading=None):
        self.name = name
        self.files = {}
        self.steps = []
        text = (tools.ROOT / "docs" / name).read_text()
        for start, section, language, lines in fenced_blocks(text):
            named = FILE_NAME.match(lines[0]) if lines else None
            if language == "console":
                if heading in (None, section):
                    self.steps += steps(start, lines)
            elif named:
                self.files[named[1]] = "\n".join(lines) + "\n"
        assert self.steps, f"docs/{name} has no dialogue below {heading or 'any heading'}: is their form the same?"

    def run(self, folder, **environment):
        """Types every command in `folder`, compares what is printed, and returns pairs of the two."""
        for name, text in self.files.items():
            (pathlib.Path(folder) / name).write_text(text)
        return [(step.command, self.type(step, folder, environment)) for step in self.steps]

    def type(self, step, folder, environment):
        # `sae` and this Python, as if they were installed. No model of the user who runs the tests is found.
        path = os.pathsep.join([str(tools.PLUGIN_DIR), os.path.dirname(sys.executable), os.environ["PATH"]])
        done = tools.run("bash", "-o", "pipefail", "-c", f"exec 2>&1\n{step.command}", check=False, cwd=folder,
                         **{"PATH": path, "XDG_DATA_HOME": str(folder), "LC_ALL": "C.UTF-8", **environment})
        place = f"docs/{self.name}, line {step.line}: {step.command}"
        assert done.returncode == 0, f"{place}\nexits {done.returncode}:\n{done.text}"
        assert step.matches(done.stdout), "\n".join([place, "should print:", *step.expected, "prints:", done.stdout])
        return done.stdout


def fenced_blocks(text):
    """(number of the first line, heading above, language, lines) of every block between fences."""
    section, start, language, lines = "", 0, None, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                start, language, lines = number + 1, line[3:].strip(), []
            else:
                yield start, section, language, lines
                language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            section = line.lstrip("#").strip()


def blocks(page, language):
    """The texts of a page's fenced blocks in that language, in order; there is at least one."""
    text = (tools.ROOT / "docs" / page).read_text()
    found = ["\n".join(lines) + "\n" for _, _, named, lines in fenced_blocks(text) if named == language]
    assert found, f"docs/{page} has no block of {language}"
    return found


def steps(start, lines):
    found = []
    for number, line in enumerate(lines, start):
        if line.startswith(PROMPT):
            found.append(Step(number, line.removeprefix(PROMPT), []))
        else:
            found[-1].expected.append(line)
    return found
