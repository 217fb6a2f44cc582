_base_ = ['./_base_/methods/sfp.py', './_base_/datasets/coco_object.py']

model = _base_.vocabulary
