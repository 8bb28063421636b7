"""Starts Airflow's components as child processes on this machine: the story of `make run` and `make ui`.

Airflow itself is never imported here; it runs beside us and is asked over its REST API.
"""
