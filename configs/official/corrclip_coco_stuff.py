_base_ = '../corrclip_coco_stuff.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_coco_stuff', backbone=dict(pretrained='metaclip_fullcc'))
