"""What the papers draw: one figure a file, each a function that computes what is shown and one that draws it."""
