_base_ = ['./_base_/methods/trident.py', './_base_/datasets/voc21.py']

model = _base_.vocabulary
