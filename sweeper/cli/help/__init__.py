"""The help of the command line: its pages, the manual, shell completion, and errors."""
