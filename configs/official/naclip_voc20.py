_base_ = '../naclip_voc20.py'

protocol = 'official'
model = dict(window=None, refine=dict(iterations=10, dilations=(8, 16)))
