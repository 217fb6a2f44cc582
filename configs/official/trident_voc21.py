_base_ = '../trident_voc21.py'

protocol = 'official'
model = dict(
    window=336,
    stride=224,
    class_names='proxyclip_voc21',
    prob_thd=0.2,
    refiner=dict(type='PromptedSAM'),
    confidence=0.2,
)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
