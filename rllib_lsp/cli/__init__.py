"""The ``rllib`` command: train any RLlib algorithm from a YAML file.

Importing this package imports neither Ray nor torch, so that ``rllib --help`` is quick.
"""


def main() -> None:
    """Entry point of the console script ``rllib``."""
    from rllib_lsp.cli.app import app

    app()


__all__ = ["main"]
