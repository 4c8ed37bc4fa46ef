"""Types that say what a handler takes and gives: checked, and written into documents.

Only handlers that name their types load it, and it loads msgspec; pydantic only after the user has.
"""
