_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/pc459.py']

model = _base_.vocabulary
