"""NACLIP (WACV 2025)."""

model = dict(type='NACLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
