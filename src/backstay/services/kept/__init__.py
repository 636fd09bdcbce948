"""What services keep records of, and what there really is: one file for each service."""
