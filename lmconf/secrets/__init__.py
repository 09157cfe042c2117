"""References to values outside of documents, the names that are secret, and masking."""
