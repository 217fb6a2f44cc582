_base_ = ['./_base_/methods/clearclip.py', './_base_/datasets/materials24.py']

model = _base_.vocabulary
