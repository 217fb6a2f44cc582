_base_ = '../proxyclip_voc21.py'

protocol = 'official'
model = dict(window=336, class_names='proxyclip_voc21', prob_thd=0.2)
