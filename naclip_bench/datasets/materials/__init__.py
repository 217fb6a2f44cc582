"""Materials: a benchmark of pictures drawn by code, a stand-in for checking and learning."""
