"""The commands of `gatt` beyond the recipe's stages, one file each."""
