_base_ = ['./_base_/methods/sclip.py', './_base_/datasets/pc459.py']

model = _base_.vocabulary
