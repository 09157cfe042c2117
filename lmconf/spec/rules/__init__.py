"""Rules between the fields of an LM, and the defaults that follow from its model."""
