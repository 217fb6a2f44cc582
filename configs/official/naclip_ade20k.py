_base_ = '../naclip_ade20k.py'

protocol = 'official'
model = dict(refine=dict(iterations=10, dilations=(8, 16)))
