"""Plugins that come with accaware."""
