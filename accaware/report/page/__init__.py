"""One HTML file that shows runs, with all that it needs inside."""
