_base_ = ['./_base_/methods/cass.py', './_base_/datasets/coco_object.py']

model = _base_.vocabulary
