"""Result files become pages, pictures and text; nothing here measures."""
