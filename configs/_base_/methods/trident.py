"""Trident (ICCV 2025); SAM's refinement of the labels is the authors' (official)."""

model = dict(
    type='Trident',
    backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'),
    helper=dict(type='ViT', arch='vit_base_patch16_224', pretrained='dino'),
    sam=dict(type='SAM', arch='samvit_base_patch16', pretrained='sa1b'),
)
