"""MaskCLIP (ECCV 2022), in the form that later papers evaluate."""

model = dict(type='MaskCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
