"""From an unpacked official archive to the layout that the datasets read.

Only numpy, pillow and what reads a source's format are imported here: each process of a conversion imports it anew.
"""
