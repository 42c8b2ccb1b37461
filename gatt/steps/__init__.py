"""The work of the recipe's stages; `gatt/stages.py` puts them in order."""
