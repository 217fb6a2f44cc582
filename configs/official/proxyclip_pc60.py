_base_ = '../proxyclip_pc60.py'

protocol = 'official'
model = dict(window=336, prob_thd=0.15)
