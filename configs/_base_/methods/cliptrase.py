"""CLIPtrase (ECCV 2024)."""

model = dict(type='CLIPtrase', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
