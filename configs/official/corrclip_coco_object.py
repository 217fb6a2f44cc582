_base_ = '../corrclip_coco_object.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_coco_object', prob_thd=0.25, backbone=dict(pretrained='metaclip_fullcc'))
