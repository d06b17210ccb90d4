"""A YOLO of another origin, recognised by the structure of its graph and brought to the graph contract."""
