"""LPOSS+ (CVPR 2025)."""

model = dict(
    type='LPOSS',
    pixels=True,
    backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'),
    helper=dict(type='ViT', arch='vit_base_patch16_224', pretrained='dino'),
)
