"""What surrounds a training: callbacks, loggers and the glue to the trunk cache."""
