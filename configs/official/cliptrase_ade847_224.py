_base_ = './cliptrase_ade847.py'

model = dict(eps=0.7, min_samples=3)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.void_ignored_224))
