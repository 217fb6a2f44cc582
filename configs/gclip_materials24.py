_base_ = ['./_base_/methods/gclip.py', './_base_/datasets/materials24.py']

# From 7/12 of the depth on, as block 7 of 12.
model = dict(_base_.vocabulary, suppress_from=2)
