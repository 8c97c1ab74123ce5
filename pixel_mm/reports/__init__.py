"""Figures and tables of runs and evaluations."""
