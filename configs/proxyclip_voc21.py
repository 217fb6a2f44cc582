_base_ = ['./_base_/methods/proxyclip.py', './_base_/datasets/voc21.py']

model = _base_.vocabulary
