"""A spare is made ready ahead of time: packages and data are there before they are needed."""
