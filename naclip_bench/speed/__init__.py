"""How fast: a config against the plain way of the same work, methods and tables beside one of them."""
