"""The web server: the dashboard, the JSON API, the metrics, and their authentication."""
