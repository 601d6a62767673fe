"""A first config and a first plugin: few lines, recommended settings, words on what each means."""
