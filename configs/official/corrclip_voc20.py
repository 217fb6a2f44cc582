_base_ = '../corrclip_voc20.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_voc20', backbone=dict(pretrained='metaclip_fullcc'))
