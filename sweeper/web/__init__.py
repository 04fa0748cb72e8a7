"""The web server: the dashboard, the JSON API, the platform's documents, and who may use them."""
