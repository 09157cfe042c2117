"""What calls may spend, and the ledgers that keep count."""
