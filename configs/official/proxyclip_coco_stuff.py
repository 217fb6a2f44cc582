_base_ = '../proxyclip_coco_stuff.py'

protocol = 'official'
model = dict(window=336)
