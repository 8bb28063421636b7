"""dealwatch: pipeline risk scores and alerts that earn the right to interrupt."""

__version__ = "0.1.0"
