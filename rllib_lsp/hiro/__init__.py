"""HIRO as an RLlib algorithm; the public names are re-exported by `rllib_lsp`."""
