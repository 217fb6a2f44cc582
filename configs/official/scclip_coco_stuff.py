_base_ = '../scclip_coco_stuff.py'

protocol = 'official'
