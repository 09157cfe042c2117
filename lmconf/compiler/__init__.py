"""From documents to compiled LMs: composing, rendering, checking and building in one pass."""
