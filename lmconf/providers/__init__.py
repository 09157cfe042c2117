"""What is known of providers and their models: addresses, variables, families, prices, routes."""
