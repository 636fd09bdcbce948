"""Compare the records of services with what really exists, and repair what is safe to repair."""
