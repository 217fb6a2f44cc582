"""From official archives to the layout that the data sets read."""
