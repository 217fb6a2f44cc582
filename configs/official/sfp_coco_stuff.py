_base_ = '../sfp_coco_stuff.py'

protocol = 'official'
