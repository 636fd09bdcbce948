"""What several runbooks share."""
