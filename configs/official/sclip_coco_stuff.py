_base_ = '../sclip_coco_stuff.py'

protocol = 'official'
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
