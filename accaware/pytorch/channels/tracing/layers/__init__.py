"""Layers that are followed as wholes: recurrent ones, and those that users register."""
