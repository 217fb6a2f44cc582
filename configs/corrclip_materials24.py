_base_ = ['./_base_/methods/corrclip.py', './_base_/datasets/materials24.py']

model = _base_.vocabulary
