"""Materials: a benchmark of images drawn by code, a stand-in for checking and learning."""
