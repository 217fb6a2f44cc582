_base_ = ['./_base_/methods/scclip.py', './_base_/datasets/materials24.py']

model = _base_.vocabulary
