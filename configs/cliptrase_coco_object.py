_base_ = ['./_base_/methods/cliptrase.py', './_base_/datasets/coco_object.py']

model = _base_.vocabulary
