"""How the miniatures are drawn: backgrounds, sprites, shapes, and what puts them together."""
