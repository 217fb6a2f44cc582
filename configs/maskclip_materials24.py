_base_ = ['./_base_/methods/maskclip.py', './_base_/datasets/materials24.py']

model = _base_.vocabulary
