"""What the files in a run's directory are called, besides its checkpoints and its history."""

CONFIG, METRICS = "config.toml", "metrics.json"
MODEL, REPORT = "model.safetensors", "report.html"
FILES = (CONFIG, METRICS, MODEL, REPORT)
FIGURES = "figures"  # a folder
