"""Fine-tuning an LM: jobs, and the LM that comes of one."""
