"""A model ready to be searched, and a bench on which any trial of the search can be run."""
