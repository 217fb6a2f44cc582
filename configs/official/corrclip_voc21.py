_base_ = '../corrclip_voc21.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_voc21', prob_thd=0.2, backbone=dict(pretrained='metaclip_fullcc'))
