_base_ = '../naclip_coco_stuff.py'

protocol = 'official'
model = dict(refine=dict(iterations=10, dilations=(8, 16)))
