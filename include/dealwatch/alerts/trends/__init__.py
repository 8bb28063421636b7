"""Stages and segments that got worse: one alert each, told to managers and never about a rep."""
