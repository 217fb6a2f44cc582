_base_ = ['./_base_/methods/gem.py', './_base_/datasets/materials24.py']

# The last half of the blocks, as depth 7 of 12.
model = dict(_base_.vocabulary, depth=3)
