_base_ = '../proxyclip_voc20.py'

protocol = 'official'
model = dict(window=336, class_names='clearclip_voc20')
