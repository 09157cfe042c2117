"""How a spec type is declared, and everything that is read from its declaration."""
