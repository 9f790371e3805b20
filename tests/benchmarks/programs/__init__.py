"""What peers that are libraries need to be contenders: a program of a few lines each, run with `.bench`'s Python."""
