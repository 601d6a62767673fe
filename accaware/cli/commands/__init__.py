"""The commands, each with its words and its deed.

Commands import what they need when they are asked to do it: help and the check of a config start
without what is slow.
"""
