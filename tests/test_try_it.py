"""The "Try it" of every lesson: the edit, made in a copy, does what it says.

The copy is started as a reader starts the lesson, in a folder that looks like this
one, and sh runs the commands of the block there. The lesson as it stands must not
answer like that already: else the edit would prove nothing.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest
from collection import ENVIRONMENT, LESSONS, NAMES, ROOT, as_promised, port_of, serve

BLOCK = re.compile(
    r"\n\n# Try it: replace\n(?P<old>(?:#     .*\n)+)"
    r"# with\n(?P<new>(?:#     .*\n)+)"
    r"(?P<prediction># and .*\n(?:# \S.*\n)*)"
    r"(?P<calls>(?:#     .*\n)+)\Z"
)


@dataclass
class TryIt:
    """One block: the edit, the sentence, and (command, promised lines) pairs."""

    code: str
    old: list
    new: list
    prediction: str
    calls: list


def uncommented(text):
    return [line.removeprefix("#     ") for line in text.splitlines()]


def try_it(lesson_file):
    """The block at the end of a lesson, taken apart, and the code above it."""
    text = lesson_file.read_text(encoding="utf-8")
    block = BLOCK.search(text)
    assert block, f'{lesson_file.name} does not end with a "# Try it:" block'
    calls = []
    for line in uncommented(block["calls"]):
        if line.startswith("#=>"):
            calls[-1][1].append(line[3:].removeprefix(" "))
        else:
            calls.append((line, []))
    return TryIt(
        text[: block.start()] + "\n",
        uncommented(block["old"]),
        uncommented(block["new"]),
        block["prediction"].replace("# ", "").strip(),
        calls,
    )


def edited(block):
    """The code with the edit; the new lines are indented as the old ones are."""
    places = set()
    for line in block.code.splitlines():
        if block.old[0] in line:
            indent = re.match(" *", line)[0]
            places.add((("\n" + indent).join(block.old), indent))
    places = {place for place in places if place[0] in block.code}
    assert len(places) == 1, f"{block.old} must be there once"
    old, indent = places.pop()
    assert block.code.count(old) == 1, f"{block.old} must be there once"
    return block.code.replace(old, ("\n" + indent).join(block.new))


def answers(name, code, calls, folder):
    """What the calls print while this code runs as lesson `name` in `folder`."""
    for part in ("models", "scripts"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part)
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    got = []
    with serve([sys.executable, f"{name}.py"], port_of(name), folder) as server:
        for command, _ in calls:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
            )
            printed = (done.stdout + done.stderr).decode()
            got.append(printed.replace("\r\n", "\n"))
        assert server.url in calls[0][0], "the first command asks the lesson"
    return got


def test_every_lesson_is_here():
    assert len(NAMES) == 8


@pytest.mark.parametrize("file", LESSONS, ids=NAMES)
def test_block_is_complete(file):
    """An edit, a sentence that says what follows, commands that promise something."""
    text = file.read_text(encoding="utf-8")
    block = try_it(file)
    assert text.count("Try it:") == 1
    assert text.count("#=>") == sum(len(promise) for _, promise in block.calls)
    assert block.old != block.new
    assert block.prediction.endswith(".")
    for command, promise in block.calls:
        assert any(line != "..." for line in promise), f"{command} promises nothing"


@pytest.mark.parametrize("file", LESSONS, ids=NAMES)
def test_edit_does_what_the_lesson_says(file, tmp_path):
    block = try_it(file)
    got = answers(file.stem, edited(block), block.calls, tmp_path)
    for (command, promise), printed in zip(block.calls, got, strict=True):
        assert as_promised(promise, printed), (
            f"{file.name}: {command}\n  want: {promise}\n  got:  {printed.splitlines()}"
        )


@pytest.mark.parametrize("file", LESSONS, ids=NAMES)
def test_lesson_does_not_do_it_without_the_edit(file, tmp_path):
    block = try_it(file)
    got = answers(file.stem, block.code, block.calls, tmp_path)
    assert not all(
        as_promised(promise, printed)
        for (_, promise), printed in zip(block.calls, got, strict=True)
    ), f"{file.name} answers like this without the edit"


# --- The test itself can fail.


def block_of(code, old, new):
    return TryIt(code, old, new, "and so on.", [])


def test_edit_keeps_the_indentation():
    code = "def f():\n    a()\n    b()\n"
    assert edited(block_of(code, ["a()", "b()"], ["c()", "if d:", "    e()"])) == (
        "def f():\n    c()\n    if d:\n        e()\n"
    )
    assert edited(block_of("x = get(1)\n", ["get(1)"], ["got[1]"])) == "x = got[1]\n"


@pytest.mark.parametrize(
    "code", ["b()\n", "a()\na()\n", "a()\n    a()\n", "a() + a()\n"]
)
def test_edit_needs_one_place(code):
    with pytest.raises(AssertionError, match="must be there once"):
        edited(block_of(code, ["a()"], ["c()"]))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: text.replace("# Try it:", "# Try this:"),
        lambda text: text.replace("\n# with\n", "\n# by\n"),
        lambda text: text + "\nprint()\n",
        lambda text: text.replace("\n\n# Try it:", "\n# Try it:"),
    ],
)
def test_block_must_have_its_form(spoilt, tmp_path):
    text = LESSONS[0].read_text(encoding="utf-8")
    try_it(LESSONS[0])
    file = tmp_path / LESSONS[0].name
    file.write_text(spoilt(text), encoding="utf-8")
    with pytest.raises(AssertionError, match="does not end with"):
        try_it(file)
