"""Studies: every run is one that the command takes, and what the page says is in the files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from rllib_lsp.cli.document import Document
from rllib_lsp.cli.experiment import check_experiments
from tests.pages import ROOT

BENCHMARKS = ROOT / "benchmarks"
STUDIES = sorted((BENCHMARKS / "experiments").glob("*.yaml"))


@pytest.fixture(scope="module")
def scripts():
    """The modules of benchmarks/, as they find each other when they are started there."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import experiment_tables
        import experiments
    finally:
        sys.path.remove(str(BENCHMARKS))
    return experiments, experiment_tables


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_run_of_a_study_is_accepted(scripts, study, lsp_checkpoint):
    experiments, _ = scripts
    runs = experiments.read_study(study)
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    for number, run in enumerate(runs):
        assert run.source is None or run.source in names[:number], run.name
        if run.seed == 0:
            checkpoint = lsp_checkpoint if run.source else None
            check_experiments(Document(study.name, experiments.experiment(run, checkpoint)))


def test_a_selection_brings_what_it_begins_with(scripts):
    experiments, _ = scripts
    runs = experiments.read_study(BENCHMARKS / "experiments" / "point.yaml")
    some = [run.name for run in experiments.select(runs, [1], ["sparse"], ["LSP", "HIRO"])]
    assert some == ["explore--LSP-explore--1", "sparse--LSP--1", "sparse--HIRO--1"]
    assert list(experiments.select(runs, None, None, None)) == runs


def test_what_a_run_begins_with_is_trained_where_only_its_results_are(
    scripts, tmp_path, monkeypatch
):
    """As in a clone, which has all results and no checkpoint."""
    experiments, _ = scripts
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    runs = experiments.read_study(BENCHMARKS / "experiments" / "point.yaml")
    runs = list(experiments.select(runs, [0], ["sparse"], ["LSP"]))
    explore, sparse = runs
    explore.results.parent.mkdir()
    explore.results.touch()
    assert experiments.what_is_left(runs, tmp_path) == [explore, sparse]
    (tmp_path / explore.name / "trial" / "checkpoint_000000").mkdir(parents=True)
    assert experiments.what_is_left(runs, tmp_path) == [sparse]
    sparse.results.touch()
    assert experiments.what_is_left(runs, tmp_path) == []


def test_parts_of_a_config_merge_key_by_key(scripts):
    experiments, _ = scripts
    first, second = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": 5}
    assert experiments.merge_dicts(first, second) == {"a": {"b": 1, "c": 4}, "d": 3, "e": 5}
    assert first == {"a": {"b": 1, "c": 2}, "d": 3}


def test_a_method_may_have_settings_for_each_task(scripts):
    experiments, _ = scripts
    runs = experiments.read_study(BENCHMARKS / "experiments" / "single.yaml")
    settings = {run.name: run.config.get("world_model") for run in runs}
    assert settings["cartpole-swingup--LSP--0"] is None
    assert settings["walker-walk--LSP--0"] == {"latent": "gaussian", "stochastic": 32}
    assert settings["walker-walk--SAC--0"] is None


def test_a_run_leaves_its_results(scripts, tmp_path, monkeypatch):
    """Trained by the command itself; the second time there is nothing left to do."""
    experiments, tables = scripts
    for module in (experiments, tables):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tables, "STUDIES", tmp_path)
    study = tmp_path / "tiny.yaml"
    study.write_text(TINY)
    command = ["experiments.py", str(study), "--storage-path", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", command)
    experiments.main()
    files = sorted((tmp_path / "results" / "tiny").glob("*.json"))
    assert [file.stem for file in files] == ["far--HIRO--0"]
    result = json.loads(files[0].read_text())
    assert result["frames"] >= result["budget"] == 400
    frames = [at for at, _ in result["evaluation"]["success"]]
    assert frames == [at for at, _ in result["evaluation_returns"]]
    table = tables.table("tiny", "far")
    assert re.search(r"\| HIRO \| 400 \| 1 \| \*\*(\d+)\*\* \| \1 \|", table), table
    tables.draw("tiny", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    before = [file.stat().st_mtime_ns for file in files]
    experiments.main()
    assert [file.stat().st_mtime_ns for file in files] == before


def test_ctrl_c_leaves_a_run_the_time_for_its_checkpoint(scripts):
    """The terminal tells the child, too; the stand-in for it takes a second to end."""
    experiments, _ = scripts
    code = "import signal, sys, time; signal.signal(2, lambda *_: None); time.sleep(1); sys.exit(7)"
    child = subprocess.Popen([sys.executable, "-c", code])
    for after_s in (0.2, 0.4):
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert experiments.wait(child) == 7


def test_the_page_says_what_the_files_say(scripts, monkeypatch):
    _, tables = scripts
    monkeypatch.setattr(sys, "argv", ["experiment_tables.py", "--check"])
    with pytest.raises(SystemExit) as end:
        tables.main()
    assert end.value.code is None


TINY = """
seeds: 1
tasks:
  far: {env: rllib_lsp/point-reach-v0, frames: 400}
methods:
  HIRO:
    run: HIRO
    tasks: [far]
    config:
      - num_cpus_for_main_process: 1
        env_config: {flatten: false, action_repeat: 4}
        goals: {features: [position]}
        low: {hidden: [8]}
        high: {hidden: [8]}
        learning_starts: 50
        training_ratio: 4
        batch_size: 4
        min_sample_timesteps_per_iteration: 100
        evaluation_interval: 1
        evaluation_duration: 1
"""
