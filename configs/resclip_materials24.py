_base_ = ['./_base_/methods/resclip.py', './_base_/datasets/materials24.py']

# The same part of the depth as blocks 5..8 of 12, and NACLIP's Gaussian for 8 x 8 patches.
model = dict(_base_.vocabulary, blocks=(1, 2), sigma=3.0)
