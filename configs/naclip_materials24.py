_base_ = ['./_base_/methods/naclip.py', './_base_/datasets/materials24.py']

# NACLIP's Gaussian is as wide against 8 x 8 patches as the paper's 5 against 14 x 14.
model = dict(_base_.vocabulary, sigma=3.0)
