"""YAML with line numbers and scientific notation."""

from __future__ import annotations

import pytest

from rllib_lsp.cli.document import parse
from rllib_lsp.cli.messages import InputError

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("-2E6", -2e6), ("1.5e3", 1500.0), ("1e", "1e"), ("3", 3), ("e4", "e4")],
)
def test_numbers(text, value):
    data = parse(f"x: {text}", "f").data
    assert data == {"x": value}
    assert type(data["x"]) is type(value)


def test_places():
    document = parse("a:\n  b: 1\n  c: [5,\n   6]\n", "f.yaml")
    assert document.where("a", "b") == "f.yaml:2"
    assert document.where("a", "c", 1) == "f.yaml:4"
    assert document.where("a", "c", 1, "deeper") == "f.yaml:4"
    assert document.where("nowhere") == "f.yaml"


def test_an_override_replaces_the_place():
    document = parse("a:\n  b: {c: 1}\n", "f.yaml")
    document.set(("a", "b"), 2, "--set b")
    assert document.data == {"a": {"b": 2}}
    assert document.where("a", "b", "c") == "--set b"
    with pytest.raises(InputError, match=r"--set.*`a.b` is 2"):
        document.set(("a", "b", "c"), 3, "--set b.c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"f\.yaml:3: `a` stands twice.*first at f\.yaml:1"),
        ("a: [1\nb: 2\n", r"f\.yaml:2: not valid YAML"),
        ("a: {b: 1\n", r"f\.yaml:\d: not valid YAML"),
        ("a: \x07\n", r"f\.yaml: character 4 cannot stand in YAML"),
        ("a: 2024-99-99\n", r"f\.yaml: not valid YAML: month must be"),
        ("? [a]\n: 1\n", r"f\.yaml: not valid YAML: unhashable"),
        ("a: &here [*here]\n", r"f\.yaml: not valid YAML"),
    ],
)
def test_errors_name_the_line(text, message):
    with pytest.raises(InputError, match=message):
        parse(text, "f.yaml")
