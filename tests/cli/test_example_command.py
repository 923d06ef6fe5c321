"""`rllib example`: what is in the package, and in a wheel made of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

from tests.cli.test_bad_input import assert_one_paragraph

ROOT = Path(__file__).parents[2]
FILES = {str(p.relative_to(ROOT / "tuned_examples")) for p in ROOT.glob("tuned_examples/**/*.yaml")}


def test_the_list_says_of_each_what_it_is(rllib):
    result = rllib("example", "list")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split(maxsplit=3) for line in result.stdout.splitlines()}
    assert {f"{name}.yaml" for name in rows} == FILES
    assert rows["lsp-tiny"][1:3] == ["LSP", "dm_control/cartpole-swingup-v0"]
    assert rows["lsp-tiny"][3].startswith("The whole line in seconds")
    assert all(len(row) == 4 for row in rows.values())
    filtered = rllib("example", "list", "--filter", "PPO").stdout
    assert [line.split()[0] for line in filtered.splitlines()] == ["ppo-point-reach"]
    assert_one_paragraph(rllib("example", "list", "--filter", "xyz"), ["--filter xyz", "none of"])


def test_an_example_is_copied_and_taken(rllib, tmp_path):
    name, file = "ablations/skill-dim", tmp_path / "mine.yaml"
    assert rllib("example", "get", name, "--out", file).exit_code == 0
    assert file.read_text() == (ROOT / f"tuned_examples/{name}.yaml").read_text()
    assert yaml.safe_load(rllib("example", "get", name).stdout) == yaml.safe_load(file.read_text())
    again = rllib("example", "get", name, "--out", file)
    assert_one_paragraph(again, ["exists already", "another name"])
    run = rllib("example", "run", "lsp-tiny", "--set", "training_ratio=2", "--dry-run")
    assert run.exit_code == 0, run.output
    assert "training_ratio: 2" in run.stdout
    misspelt = rllib("example", "run", "lsp-tniy")
    assert_one_paragraph(misspelt, ["`lsp-tniy`", "Did you mean `lsp-tiny`?"])


def test_a_wheel_holds_them_all(tmp_path):
    # Of a copy: a build leaves its directories beside the sources.
    source = tmp_path / "source"
    for name in ("rllib_lsp", "tuned_examples"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    command = [sys.executable, "-c", "from rllib_lsp.cli import main; main()", "example", "list"]
    listed = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert {f"{line.split()[0]}.yaml" for line in listed.splitlines()} == FILES
    (tmp_path / "installed/rllib_lsp/tuned_examples/lsp-tiny.yaml").stat()
