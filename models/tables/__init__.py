"""Tables as files: how cells of text are read. Training and jobs share it."""
