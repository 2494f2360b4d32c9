"""Recipes: the text that Python prints for a setting makes the same setting again."""
