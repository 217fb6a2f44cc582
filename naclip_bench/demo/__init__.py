"""The page of ``naclip-bench demo``: an image and words of one's own, several methods side by side, in a browser."""
