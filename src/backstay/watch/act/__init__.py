"""What the watch does by policy: guards, plans, approvals, runs."""
