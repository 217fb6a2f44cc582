_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/coco_stuff.py']

model = _base_.vocabulary
