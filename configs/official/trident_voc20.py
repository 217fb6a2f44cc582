_base_ = '../trident_voc20.py'

protocol = 'official'
model = dict(
    window=336,
    stride=112,
    class_names='clearclip_voc20',
    cos_factor=0.0,
    refiner=dict(type='PromptedSAM'),
    confidence=0.2,
)
