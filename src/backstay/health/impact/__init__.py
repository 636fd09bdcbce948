"""What users lose and keep while a host is down, from what this cloud is seen to do."""
