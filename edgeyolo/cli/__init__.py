"""The command line: one thin function a command, each importing its stage only when it is called."""
