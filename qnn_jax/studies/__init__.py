"""Studies of tasks and trained models: functions that return tables, for notebooks and commands."""
