"""Pictures of training runs and of agents; no Ray needed."""

from rllib_lsp.plots.curves import LearningCurve, plot_learning_curve, read_results

__all__ = ["LearningCurve", "plot_learning_curve", "read_results"]
