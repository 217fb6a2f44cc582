_base_ = '../naclip_coco_object.py'

protocol = 'official'
model = dict(refine=dict(iterations=10, dilations=(8, 16)))
