_base_ = '../corrclip_pc59.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_pc59', backbone=dict(pretrained='metaclip_fullcc'))
