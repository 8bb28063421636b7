"""Show, and take what people answer: the pages and the Slack end-point that Airflow's web server carries."""
