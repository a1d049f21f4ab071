"""Small pictures of every kind of file that the service reads, each with the pixels that it shows on white."""
