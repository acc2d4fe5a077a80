"""The page on which digits are drawn: `page` writes it, its style and scripts lie beside that."""
