"""From the official archives of a data set to the folders that its benchmark reads."""
