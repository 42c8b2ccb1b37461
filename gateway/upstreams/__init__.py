"""Who answers: one module a kind of model server."""
