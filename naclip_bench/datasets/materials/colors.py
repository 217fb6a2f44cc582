"""Colors of the materials in pictures: each suits its word, and no two are within a CIEDE2000 difference of 14."""

#: RGB by the name of the class.
COLORS = {
    'brick': (173, 73, 37),
    'grass': (61, 151, 31),
    'water': (30, 90, 188),
    'wood': (108, 69, 39),
    'sand': (225, 199, 150),
    'snow': (222, 244, 255),
    'lava': (255, 72, 6),
    'zebra': (25, 25, 25),
    'tiger': (251, 136, 31),
    'leopard': (177, 128, 67),
    'chessboard': (97, 99, 110),
    'gold': (255, 219, 29),
    'stone': (140, 140, 135),
    'sky': (116, 190, 253),
    'tiles': (18, 179, 164),
    'denim': (11, 48, 120),
    'honeycomb': (231, 165, 0),
    'marble': (216, 208, 213),
    'polka dots': (240, 81, 150),
    'tartan': (123, 9, 46),
    'bamboo': (163, 180, 69),
    'rainbow': (150, 71, 202),
    'fish scales': (90, 130, 150),
    'strawberry': (225, 1, 57),
}
