"""Compare the records of services with what there really is, and heal what is safe to heal."""
