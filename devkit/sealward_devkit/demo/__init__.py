"""The main job, played through the public command line and APIs, on evidence minted on the spot."""
