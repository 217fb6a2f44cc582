_base_ = '../sfp_voc20.py'

protocol = 'official'
model = dict(class_names='sfp_voc20')
