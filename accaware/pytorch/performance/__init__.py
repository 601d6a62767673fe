"""How fast, how big and how hungry a compressed model is, against the dense one."""
