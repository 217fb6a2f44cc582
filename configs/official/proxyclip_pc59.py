_base_ = '../proxyclip_pc59.py'

protocol = 'official'
model = dict(window=336)
