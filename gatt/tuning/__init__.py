"""What `gatt/train.py` stands on: settings, rows, the weights that learn, and the objectives."""
