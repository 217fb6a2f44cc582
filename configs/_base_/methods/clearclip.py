"""ClearCLIP (ECCV 2024)."""

model = dict(type='ClearCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
