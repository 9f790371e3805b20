"""The composition root: argv and environment come in here, the exit status goes out."""
