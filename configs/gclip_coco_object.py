_base_ = ['./_base_/methods/gclip.py', './_base_/datasets/coco_object.py']

model = _base_.vocabulary
