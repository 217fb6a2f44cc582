_base_ = '../trident_coco_object.py'

protocol = 'official'
model = dict(
    window=336,
    stride=224,
    class_names='proxyclip_coco_object',
    prob_thd=0.25,
    refiner=dict(type='PromptedSAM'),
    confidence=0.25,
)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
