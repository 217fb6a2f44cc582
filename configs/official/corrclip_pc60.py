_base_ = '../corrclip_pc60.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_pc60', prob_thd=0.15, backbone=dict(pretrained='metaclip_fullcc'))
