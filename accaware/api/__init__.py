"""What the command can do, as functions: they return data, raise accaware's errors, print nothing.

The public names are lazily accaware's own: ``accaware.run``, ``accaware.status`` and so on.
"""
