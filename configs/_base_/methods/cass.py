"""CASS (CVPR 2025)."""

model = dict(
    type='CASS',
    backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'),
    helper=dict(type='ViT', arch='vit_base_patch8_224', pretrained='dino'),
)
