"""From patch logits to labels: windows, stitch, refine, decide."""
