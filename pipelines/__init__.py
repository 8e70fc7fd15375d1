"""The commands: each module is one make target and one `python -m pipelines.<name>`."""
