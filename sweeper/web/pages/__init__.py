"""The console: what people see in a browser, a file for each page."""
