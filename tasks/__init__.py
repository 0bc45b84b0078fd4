"""What a person does: fit, select, track, render, evaluate, view, export; and the command line over them."""
