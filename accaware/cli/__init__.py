"""The command line: words for what accaware.api does, its output and its exit codes."""
