"""An answer from the model to the client: asked for, tried again, relayed, counted, recorded."""
