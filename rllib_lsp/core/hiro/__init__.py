"""HIRO (Nachum et al. 2018) in plain PyTorch: two levels of TD3, and the goals between them."""
