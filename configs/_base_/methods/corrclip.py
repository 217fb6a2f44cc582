"""CorrCLIP v1 (ICCV 2025)."""

model = dict(
    type='CorrCLIP',
    backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'),
    helper=dict(type='ViT', arch='vit_base_patch8_224', pretrained='dino'),
    regions=dict(type='SAM2'),
)
