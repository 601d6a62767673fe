"""Rules for layers as wholes: recurrent and registered ones, and those of computed weights."""
