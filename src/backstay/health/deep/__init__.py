"""Make real things and delete them: the proof that users can. One file for each kind of thing."""
