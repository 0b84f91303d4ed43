"""The Try it of every lesson: the edit, made in a copy, does what the lesson says."""

import re
import shutil
import sys

import play
import pytest
from collection import LESSONS, NAMES, ROOT, make_calls, port_of, serve

every_lesson = pytest.mark.parametrize("file", LESSONS, ids=NAMES)


def edited(try_it):
    """The code with the new lines in the place of the old ones."""
    lines = try_it.code.splitlines()
    (start,) = play.places_of(try_it.old, lines)
    indent = re.match(" *", lines[start])[0]
    end = start + len(try_it.old)
    lines[start:end] = [indent + line for line in try_it.new]
    return "\n".join(lines) + "\n"


def wrong_answers(name, code, calls, folder):
    """The calls whose promise does not hold while this code runs as the lesson."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    wrong = []
    with serve([sys.executable, f"{name}.py"], port_of(name), folder) as server:
        for call, answer in make_calls(name, server, folder, calls):
            if not play.holds(call.promise, answer):
                wrong.append(f"{call}: {call.command}\n  got: {answer!r}")
    return wrong


@every_lesson
def test_block_has_its_form(file):
    """An edit, how to see it, calls with promises, and an open question."""
    text = file.read_text(encoding="utf-8")
    code, block = text.split("\n# Try it: replace\n")
    try_it = play.read_try_it(file)
    main = '\nif __name__ == "__main__":\n'
    assert code.count(main) == 1, "the end of the lesson is not above the Try it"
    assert all(line.startswith("# ") for line in block.splitlines())
    assert block.endswith("?\n")
    assert "#=>" not in code
    assert block.count("#=>") == sum(len(call.promise) for call in try_it.calls) > 0
    assert "127.0.0.1" in try_it.calls[0].command
    # run.sh prints call.line, so it must be right.
    lines = text.splitlines()
    for call in try_it.calls:
        assert lines[call.line - 1] == f"#     {call.command}"


@every_lesson
def test_edit_does_what_the_lesson_says(file, tmp_path):
    """Before the edit the answers must differ: else it would prove nothing."""
    for part in ("models", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part)
    try_it = play.read_try_it(file)
    assert wrong_answers(file.stem, try_it.code, try_it.calls, tmp_path)
    assert wrong_answers(file.stem, edited(try_it), try_it.calls, tmp_path) == []


@every_lesson
def test_player_knows_the_edit(file):
    try_it = play.read_try_it(file)
    assert not try_it.is_made()
    try_it.code = edited(try_it)
    assert try_it.is_made()
    try_it.code = try_it.code.replace(try_it.new[-1], "something else")
    assert not try_it.is_made()


@every_lesson
def test_the_edit_may_have_other_quotes(file):
    try_it = play.read_try_it(file)
    try_it.code = edited(try_it).replace('"', "'")
    assert try_it.is_made()


def test_old_lines_count_only_side_by_side():
    assert play.TryIt("a\nnew\nb\n", ["a", "b"], ["new"], []).is_made()


def test_new_lines_beside_the_old_ones_are_not_the_edit():
    """The old ones have to go."""
    assert not play.TryIt("new\nold\n", ["old"], ["new"], []).is_made()
    assert not play.TryIt("a\nb\nx\na\n", ["a"], ["a", "b"], []).is_made()


def test_empty_lines_do_not_hide_the_edit():
    """An editor may add some between functions."""
    try_it = play.read_try_it(LESSONS[7])
    models = "MODELS = {"
    assert models in try_it.new
    try_it.code = edited(try_it).replace(models, f"\n\n{models}")
    assert try_it.is_made()


def test_a_block_without_its_form_is_named(tmp_path):
    text = LESSONS[0].read_text(encoding="utf-8")
    file = tmp_path / LESSONS[0].name
    file.write_text(text.replace("# with\n", "# by\n"), encoding="utf-8")
    with pytest.raises(play.ScriptError, match="01_hello.py: the Try it is not in"):
        play.read_try_it(file)
