"""Templates in documents: expressions over `vars`, with bounded work."""
