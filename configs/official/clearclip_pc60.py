_base_ = '../clearclip_pc60.py'

protocol = 'official'
model = dict(prob_thd=0.15, logit_scale=50, window=448, stride=224)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
