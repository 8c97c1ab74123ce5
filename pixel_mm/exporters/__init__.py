"""Checkpoint to deployable formats, one small file each, and the parity that proves them."""
