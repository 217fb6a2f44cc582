_base_ = ['./_base_/methods/clip_surgery.py', './_base_/datasets/materials25.py']

# Half of the blocks, as 6 of 12.
model = dict(_base_.vocabulary, changed_blocks=2)
