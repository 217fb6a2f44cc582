_base_ = '../proxyclip_coco_object.py'

protocol = 'official'
model = dict(window=336, class_names='proxyclip_coco_object', prob_thd=0.25)
