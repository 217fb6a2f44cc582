"""ProxyCLIP (ECCV 2024)."""

model = dict(
    type='ProxyCLIP',
    backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'),
    helper=dict(type='ViT', arch='vit_base_patch8_224', pretrained='dino'),
)
