"""`LMSpec` and `ProfileSpec`, put together from the rooms, with the rules between their fields."""
