"""The formats that a model can be exported in, behind one Protocol."""
